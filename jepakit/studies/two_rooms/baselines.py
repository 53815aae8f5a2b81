"""Policies that know the true state, to compare planning with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase

from jepakit.components.envs.two_rooms.simulator import LARGEST_STEP, TwoRooms
from jepakit.components.envs.two_rooms.walls import HALF_WALL, Place
from jepakit.protocols import ACTION
from jepakit.training.learner import Learner

BEYOND = HALF_WALL + 1  #: how far from the wall's middle the way through the door begins and ends


class Steered:
    """Goes straight towards a point at the largest step, by the true state.

    Args:
        env: A ``two_rooms`` env whose simulators are in this process.
        learner: Says on which device to act.
        by_door: Whether to go through the door, where the goal is in the other room; else always straight towards the goal.
    """

    def __init__(self, env: Any, learner: Learner, *, by_door: bool) -> None:
        self.env, self.learner, self.by_door = env, learner, by_door

    def __call__(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write ``action`` into ``tensordict`` [N]."""
        steps = [self._step(simulator.unwrapped) for simulator in self.env.simulators]
        return tensordict.set(ACTION, torch.from_numpy(np.stack(steps)).float().to(tensordict.device))

    def _step(self, rooms: TwoRooms) -> Place:
        towards = _by_door(rooms) if self.by_door else rooms.goal
        way = towards - rooms.place
        return way * min(1.0, LARGEST_STEP / max(np.abs(way).max(), 1e-9))


def _by_door(rooms: TwoRooms) -> Place:
    """The next point of a way through the door."""
    wall, door = rooms.layout
    here, there = np.sign(rooms.place[0] - wall), np.sign(rooms.goal[0] - wall)
    if abs(rooms.place[0] - wall) <= BEYOND + 0.01 and abs(rooms.place[1] - door) <= 2:  # in the door
        return np.array([wall + there * (BEYOND + LARGEST_STEP), door]) if here != there else rooms.goal
    return rooms.goal if here == there else np.array([wall + here * BEYOND, door])

"""The env kind ``two_rooms``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from jepakit.components.envs.pixels import PixelEnv
from jepakit.components.envs.two_rooms.simulator import Layouts, make_simulator
from jepakit.registry import register


@register("env", "two_rooms")
class TwoRoomsEnv(PixelEnv):
    """A point in two rooms with one door between them; its goal, a picture, is always in the other room.

    An action moves the point by (dx, dy), each up to 2.45 pixels. A step that meets a wall goes on along it. A picture has 64×64 pixels:
    red shows the point as a blurred dot (standard deviation 1.3 pixels), green and blue the walls. Coming within ``goal_distance`` of the
    goal ends the episode with reward 1, so that a return is 1 or 0: success or not.

    Source: Sobal et al. 2025, Learning from Reward-Free Offline Data: A Case for Planning with Latent Dynamics Models (PLDM), Two-Rooms.
    Size, walls, door, dot, largest step, starts and goals across the wall, the budget of 200 steps and the random layouts' ranges are those
    of its authors' code and of EB-JEPA's, which show dot and walls as two channels; the distance of success is DINO-WM's, which EB-JEPA
    takes, too. There a step that meets a wall ends at it, with some noise along the wall.

    Args:
        seed: Starts the one stream that all simulators' seeds come from.
        processes: How many processes the simulators are spread over; 1: they are stepped in this one.
        num_envs: How many simulators are stepped side by side.
        frames: How many of the last frames make one observation (K). One shows all of the state.
        layout: ``fixed``: the wall at ``wall`` with its door at ``door``; ``random``: both are drawn for each episode, at whole pixels, the
            wall from 20 to 43, the door from 10 to 53.
        wall: x of the fixed wall's middle; it is 3 pixels wide.
        door: y of the fixed door's middle; it is open for 4 pixels above and below.
        goal_distance: How near to the goal, in pixels, the point has to come.
        max_episode_steps: Truncates an episode after so many steps: the budget.
        grayscale: One luma channel rather than RGB.
    """

    def __init__(
        self,
        seed: int,
        processes: int = 1,
        *,
        num_envs: PositiveInt = 8,
        frames: PositiveInt = 1,
        layout: Layouts = "fixed",
        wall: Annotated[float, Field(ge=20, le=44)] = 32,
        door: Annotated[float, Field(ge=9, le=54)] = 10,
        goal_distance: PositiveFloat = 4.5,
        max_episode_steps: PositiveInt = 200,
        grayscale: bool = False,
    ) -> None:
        make = partial(make_simulator, layout, wall, door, goal_distance, max_episode_steps)
        super().__init__(seed, "two_rooms", make, num_envs, frames=frames, size=None, grayscale=grayscale, processes=processes)

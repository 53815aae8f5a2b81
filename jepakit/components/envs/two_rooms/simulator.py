"""The two rooms as a Gymnasium simulator."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from jepakit.components.envs.tape import Simulator
from jepakit.components.envs.two_rooms.walls import HALF_DOOR, HALF_WALL, HIGH, LOW, SIDE, Layout, Place

LARGEST_STEP = 2.45  #: pixels, in each direction
BLUR = 1.3  #: standard deviation of the dot, in pixels
MARGIN = 2 * BLUR  #: between walls and starts or goals
WALLS, DOORS = (20, 44), (10, 54)  #: where random ones may be
PIXELS = np.arange(SIDE)

Layouts = Literal["fixed", "random"]


def make_simulator(layout: Layouts, wall: float, door: float, goal_distance: float, max_episode_steps: int) -> Simulator:
    """Makes a simulator with a limit of time, and resets it once."""
    simulator = TimeLimit(TwoRooms(layout, wall, door, goal_distance), max_episode_steps)
    simulator.reset(seed=0)
    return simulator


class TwoRooms(gymnasium.Env[Any, Any]):
    """A point moves by (dx, dy) pixels a step, and slides along walls. It starts in one room, and its goal is in the other.

    A step that ends near the goal has reward 1 and ends the episode; all others have reward 0. The red channel of a picture shows the
    point, green and blue the walls. ``info["goal_image"]`` of a reset shows the point at the goal.

    Args:
        layout: Whether wall and door are the same in each episode.
        wall: x of a fixed wall.
        door: y of a fixed door.
        goal_distance: How near to the goal the point has to come.
    """

    render_mode = "rgb_array"

    def __init__(self, layout: Layouts, wall: float, door: float, goal_distance: float) -> None:
        self.layout_kind, self.fixed, self.goal_distance = layout, Layout(wall, door), goal_distance
        self.layout = self.fixed
        self.place = self.goal = np.zeros(2)
        self.action_space = spaces.Box(-LARGEST_STEP, LARGEST_STEP, (2,), np.float32)
        self.observation_space = spaces.Box(LOW, HIGH, (2,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Place, dict[str, Any]]:
        """Draw the layout, and a start and a goal in different rooms."""
        super().reset(seed=seed)
        draw = self.np_random
        if self.layout_kind == "random":
            self.layout = Layout(float(draw.integers(*WALLS)), float(draw.integers(*DOORS)))
        wall = self.layout.wall
        near, far = LOW + MARGIN, HIGH - MARGIN
        left = np.array([draw.uniform(near, wall - HALF_WALL - MARGIN), draw.uniform(near, far)])
        right = np.array([draw.uniform(wall + HALF_WALL + MARGIN, far), draw.uniform(near, far)])
        self.place, self.goal = (left, right) if draw.random() < 0.5 else (right, left)
        return self.place, {"goal_image": self.picture(self.goal)}

    def step(self, action: NDArray[np.float32]) -> tuple[Place, float, bool, bool, dict[str, Any]]:
        """Move by ``action``, which is clipped to the bounds."""
        step = np.clip(np.asarray(action, dtype=np.float64), -LARGEST_STEP, LARGEST_STEP)
        self.place = self.layout.moved(self.place, step)
        reached = bool(np.hypot(*(self.place - self.goal)) <= self.goal_distance)
        return self.place, float(reached), reached, False, {}

    def render(self) -> NDArray[np.uint8]:
        """The rooms now."""
        return self.picture(self.place)

    def picture(self, place: Place) -> NDArray[np.uint8]:
        """The rooms with the point at ``place``: uint8 [64, 64, 3]."""
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        across, down = (np.exp(-np.square(PIXELS - at) / (2 * BLUR**2)) for at in place)
        image[..., 0] = np.round(255 * np.outer(down, across))
        walls = np.zeros((SIDE, SIDE), bool)
        closed, inner = np.abs(PIXELS - self.layout.door) > HALF_DOOR, np.abs(PIXELS - self.layout.wall) <= HALF_WALL
        walls[np.ix_(closed, inner)] = True
        for edge in (int(LOW), int(HIGH)):
            walls[edge], walls[:, edge] = True, True
        image[walls, 1:] = 255
        return image

    def true_state(self) -> dict[str, float]:
        """Where the point is; with random layouts also the wall and its door."""
        state = {"x": float(self.place[0]), "y": float(self.place[1])}
        return state | ({"wall": self.layout.wall, "door": self.layout.door} if self.layout_kind == "random" else {})

    def save_state(self) -> dict[str, Any]:
        """Everything that the next steps depend on, as JSON values."""
        where = {"place": self.place.tolist(), "goal": self.goal.tolist(), "layout": list(self.layout)}
        return where | {"generator": self.np_random.bit_generator.state}

    def load_state(self, state: dict[str, Any]) -> None:
        """Return to what `save_state` has returned."""
        self.place, self.goal = np.array(state["place"]), np.array(state["goal"])
        self.layout = Layout(*state["layout"])
        self.np_random.bit_generator.state = state["generator"]

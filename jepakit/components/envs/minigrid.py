"""The env kind ``minigrid``; the package is an optional extra, and nothing here imports it before a grid is made."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from pydantic import PositiveInt

from jepakit.components.envs.pixels import PixelEnv
from jepakit.components.envs.simulators import make_simulator
from jepakit.components.envs.tape import Simulator
from jepakit.components.envs.wrappers.first_actions import FirstActions
from jepakit.registry import register

NAVIGATION = 3  #: turn left, turn right, step forward: MiniGrid's first actions


@register("env", "minigrid")
class MiniGridEnv(PixelEnv):
    """A MiniGrid (or BabyAI) grid world, drawn in tiles.

    The mission text is no part of the observations: a task that needs it can't be solved. What the agent carries is drawn in its own view
    only.

    Source: Chevalier-Boisvert et al. 2023, Minigrid & Miniworld: Modular & Customizable Reinforcement Learning Environments.

    Args:
        seed: Starts the one stream that all simulators' seeds come from.
        processes: How many processes the simulators are spread over; 1: they are stepped in this one.
        id: Such as ``MiniGrid-Empty-8x8-v0`` or ``MiniGrid-DoorKey-6x6-v0``.
        num_envs: How many grids are stepped side by side.
        frames: How many of the last frames make one observation (K). One shows all of the grid, but not of the past.
        view: ``full``: the whole grid, with what the agent sees in a lighter colour; ``partial``: the 7×7 tiles that the agent sees.
        tile_size: Pixels of a tile's side.
        size: Height and width that the drawn grid is resized to; null keeps tiles × ``tile_size``.
        grayscale: One luma channel rather than RGB. Many objects differ in colour only.
        actions: ``all``: the env's own, mostly seven; ``navigation``: turn left, turn right, step forward.
        max_episode_steps: Truncates an episode after so many steps; null keeps the grid's own limit. Rewards count from the latter.

    Raises:
        UserError: MiniGrid has no such id.
    """

    requires: ClassVar[dict[str, str]] = {"minigrid": "pip install 'jepakit[minigrid]'"}

    def __init__(
        self,
        seed: int,
        processes: int = 1,
        *,
        id: str,
        num_envs: PositiveInt = 8,
        frames: PositiveInt = 1,
        view: Literal["full", "partial"] = "full",
        tile_size: PositiveInt = 8,
        size: tuple[PositiveInt, PositiveInt] | None = None,
        grayscale: bool = False,
        actions: Literal["all", "navigation"] = "all",
        max_episode_steps: PositiveInt | None = None,
    ) -> None:
        made = partial(_make, id, max_episode_steps, tile_size, view == "partial", actions == "navigation")
        super().__init__(seed, id, made, num_envs, frames=frames, size=size, grayscale=grayscale, processes=processes)


def _make(id: str, max_episode_steps: int | None, tile_size: int, agent_pov: bool, navigation: bool) -> Simulator:
    import minigrid  # noqa: F401  registers its ids

    simulator = make_simulator(id, max_episode_steps, {"tile_size": tile_size, "agent_pov": agent_pov})
    return FirstActions(simulator, NAVIGATION) if navigation else simulator

"""Checks a replay's state from a checkpoint before it is used: the run folder may come from somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from jepakit.protocols import ACTION, BONUS, REWARD

if TYPE_CHECKING:
    from jepakit.recipe.schema import Replay as Settings

_OF_A_STEP = {REWARD: torch.float32, "done": torch.bool, "terminated": torch.bool, "position": torch.int64, "age": torch.int64}


class Rings(Protocol):
    """What the checks need to know of a replay."""

    settings: Settings
    num_envs: int
    rows: int
    end: Tensor
    first: Tensor
    live: Tensor


def check_stored(replay: Rings, state: Mapping[str, Tensor]) -> None:
    """Check that ``state`` can come from a replay with the same arguments as ``replay``, which is new.

    Raises:
        KeyError: An entry is missing.
        ValueError: An entry has the wrong shape or type, or a cursor points outside the rings.
    """
    steps, updates = int(state["steps"]), int(state["updates"])
    held, n = min(steps, replay.rows) * replay.num_envs, replay.num_envs
    if min(steps, updates) < 0:
        raise ValueError(f"replay: {steps} steps and {updates} updates")
    for name, like in {"end": replay.end, "first": replay.first, "live": replay.live}.items():
        _expect(name, state[name], like.dtype, n)
    if (state["first"] < 0).any() or (state["first"] > state["end"]).any() or (steps > 0 and (state["end"] <= steps).any()):
        raise ValueError("replay: the cursors contradict each other")
    if held:
        for name, dtype in _OF_A_STEP.items():
            _expect(f"rows.{name}", state[f"rows.{name}"], dtype, held)
        if (bonus := state.get(f"rows.{BONUS}")) is not None:
            _expect(f"rows.{BONUS}", bonus, torch.float32, held)
        _expect(f"rows.{ACTION}", state[f"rows.{ACTION}"], None, held)
        position, age = state["rows.position"].view(-1, n), state["rows.age"].view(-1, n)
        if (age < 0).any() or (age > position).any() or (position >= state["end"]).any():
            raise ValueError("replay: steps point at frames that were never written")
        if (position[(steps - 1) % replay.rows] != state["end"] - 2).any():
            raise ValueError("replay: the newest steps are not those of its newest frames")
    if replay.settings.sampler == "prioritized":
        _expect("powers", powers := state["powers"], torch.float32, replay.rows * n)
        _expect("default_priority", largest := state["default_priority"], torch.float32)
        if not (powers.isfinite() & (powers >= 0)).all() or not largest.isfinite():
            raise ValueError("replay: a priority is negative or not finite")


def _expect(name: str, tensor: Tensor, dtype: torch.dtype | None, *size: int) -> None:
    if (dtype or tensor.dtype) != tensor.dtype or tensor.shape[: len(size)] != size or (not size and tensor.ndim):
        raise ValueError(f"replay: `{name}` is {tensor.dtype} {list(tensor.shape)}")

"""The diagnostic kind ``drift``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor

from jepakit.registry import register


@register("diagnostic", "drift")
class Drift:
    """How far the embeddings of the same observations have moved.

    The observations are those of the first record, and stay. ``drift/since_first`` and ``drift/since_last`` are the mean distance of their
    embeddings to those at the first and at the previous record, divided by the mean norm of the latter. Heads must learn to follow a large
    drift; a drift of exactly 0 means that nothing trains the encoder.

    Args:
        rows: How many observations to keep; they are in every checkpoint.
    """

    def __init__(self, *, rows: PositiveInt = 64) -> None:
        self.rows = rows
        self.kept: dict[str, Tensor] = {}

    def __call__(self, pixels: Tensor, embed: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Recent observations [M, K, C, H, W] and the encoder -> figures; none at the first call."""
        if not self.kept:
            chosen = torch.linspace(0, len(pixels) - 1, min(self.rows, len(pixels))).long()
            self.kept["pixels"] = pixels[chosen.to(pixels.device)].clone()
        now = embed(self.kept["pixels"])
        figures = {
            f"drift/since_{name}": (now - self.kept[name]).norm(dim=-1).mean() / self.kept[name].norm(dim=-1).mean()
            for name in ("first", "last")
            if name in self.kept
        }
        self.kept = {"first": now, **self.kept, "last": now}
        return figures

    def state_dict(self) -> dict[str, Any]:
        """The observations, and their embeddings at the first and at the last call."""
        return dict(self.kept)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore that state."""
        self.kept = dict(state)

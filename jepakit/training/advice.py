"""Advice for a collapsed embedding, given the recipe and its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from jepakit.components.encoders.pixels import Scaling, scale

if TYPE_CHECKING:
    from jepakit.recipe import Recipe

NEAR_ZERO = 0.1  #: a scaled background below this counts as zero


def advice(recipe: Recipe, pixels: Tensor) -> str:
    """One remedy to try, with the line to write.

    A background far from zero is the most common cause (docs/results/collapse.md). The next remedy is a regularizer.

    Args:
        recipe: The run's recipe.
        pixels: uint8 or float [*, K, C, H, W], from the current batch.
    """
    if background := background_advice(recipe, pixels):
        return background
    if not any(config.weight > 0 for config in recipe.regularizers):
        return "no regularizer keeps it apart: try `regularizers=[{kind: vicreg, weight: 0.1}]`"
    return "try a lower `optimizer.lr`, or another regularizer (`jepakit list regularizer`)"


def background_advice(recipe: Recipe, pixels: Tensor) -> str:
    """A better `scaling` if the most common pixel is far from zero after scaling; empty if it is near zero or there is no `scaling`."""
    scaling = getattr(recipe.encoder, "scaling", None)
    if pixels.dtype != torch.uint8 or scaling not in get_args(Scaling) or scaling == "normalized":
        return ""
    background = pixels.flatten().mode().values
    seen = {name: float(scale(background, name)) for name in get_args(Scaling) if name != "normalized"}
    best = min(seen, key=lambda name: abs(seen[name]))
    if abs(seen[scaling]) <= NEAR_ZERO or best == scaling:
        return ""
    return (
        f"most pixels are {int(background)} of 255, and the encoder sees {seen[scaling]:.2f} there with `scaling: {scaling}`: "
        f"try `encoder.scaling={best}`, which makes that {seen[best]:.2f}"
    )

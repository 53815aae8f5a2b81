"""What to try when the embedding has collapsed, in this recipe and on these frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from jepakit.components.encoders.pixels import Scaling, scale

if TYPE_CHECKING:
    from jepakit.recipe import Recipe

NEAR_ZERO = 0.1  #: a background that the encoder sees as less than this is as good as zero


def advice(recipe: Recipe, pixels: Tensor) -> str:
    """One thing to try, with the line to write.

    A background that is far from zero is the commonest cause (docs/results/collapse.md). After that, a regularizer is what helps.

    Args:
        recipe: The recipe of the run.
        pixels: uint8 or float [*, K, C, H, W], of the batch at hand.
    """
    if background := background_advice(recipe, pixels):
        return background
    if not any(config.weight > 0 for config in recipe.regularizers):
        return "no regularizer keeps it apart: try `regularizers=[{kind: vicreg, weight: 0.1}]`"
    return "try a lower `optimizer.lr`, or another regularizer (`jepakit list regularizer`)"


def background_advice(recipe: Recipe, pixels: Tensor) -> str:
    """What to write where the commonest pixel is far from zero to the encoder; empty where it is near, or the encoder has no `scaling`."""
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

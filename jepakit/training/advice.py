"""Advice on an embedding that has collapsed or is about to, given the recipe and its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from jepakit.components.encoders.pixels import FIXED_SCALINGS, scale
from jepakit.components.envs.batched import EnvFailed
from jepakit.diagnostics.frames import changing_share, frame_figures
from jepakit.errors import raised_in
from jepakit.protocols import PIXELS

if TYPE_CHECKING:
    from jepakit.recipe import Recipe

LEAST_CHANGING = 0.05  #: share of an encoder's input that changes; embeddings collapsed with less (docs/results/alive.md)
LOOKED_AT = 256  #: frames


def advice(recipe: Recipe, pixels: Tensor) -> str:
    """One remedy to try, with the line to write.

    An input that hardly changes is the most common cause (docs/results/alive.md). The next remedy is a regularizer.

    Args:
        recipe: The run's recipe.
        pixels: uint8 or float [*, K, C, H, W], from the current batch.
    """
    if scaling := scaling_advice(recipe, newest_frames(pixels)):
        return scaling
    if not any(config.weight > 0 for config in recipe.regularizers):
        return "no regularizer keeps it apart: try `regularizers=[{kind: vicreg, weight: 0.1}]`"
    return "try a lower `optimizer.lr`, or another regularizer (`jepakit list regularizer`)"


def scaling_advice(recipe: Recipe, frames: Tensor) -> str:
    """A better `scaling` if hardly anything that the encoder sees of ``frames`` [M, C, H, W] changes; empty if enough does."""
    scaling = getattr(recipe.encoder, "scaling", None)
    if frames.dtype != torch.uint8 or scaling not in FIXED_SCALINGS:
        return ""
    shares = {name: changing_share(scale(frames, name)) for name in FIXED_SCALINGS}
    background, changing, _ = frame_figures(frames)
    if shares[scaling] >= LEAST_CHANGING or not changing:
        return ""
    best = max(shares, key=lambda name: shares[name])
    better = f"{best}`, which makes that {shares[best]:.0%}" if shares[best] >= LEAST_CHANGING else "normalized`"
    return (
        f"only {shares[scaling]:.1%} of what the encoder sees changes with `scaling: {scaling}` on a background of "
        f"{background} of 255: try `encoder.scaling={better}"
    )


def frame_notices(recipe: Recipe, env: EnvBase) -> list[str]:
    """What a few hundred frames of random play show, and what in the recipe does not fit them; plays on in ``env``.

    Raises:
        RecipeError: A simulator fails.
    """
    if env.observation_spec[PIXELS].dtype != torch.uint8:
        return []
    try:
        frames = random_frames(env)
    except EnvFailed as failure:
        told = f"in random play {failure} (in {raised_in(failure.__cause__ or failure)}; `jepakit --traceback …` shows the traceback)"
        raise recipe.error("env", told) from failure
    background, changing, variance = frame_figures(frames)
    shown = (
        f"{len(frames)} frames of random play: background {background} of 255, {changing:.1%} of the pixels change, variance {variance:.1e}"
    )
    if not changing:
        return [shown, "notice: no pixel ever changes: the agent cannot see what its actions do"]
    found = scaling_advice(recipe, frames)
    return [shown, *([f"notice: {found}"] if found else [])]


def random_frames(env: EnvBase) -> Tensor:
    """Frames [M, C, H, W] of random actions in ``env``, which is left in the middle of its episodes; the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        played: TensorDictBase = env.rollout(max(2, LOOKED_AT // env.batch_size[0]), break_when_any_done=False)
    return newest_frames(played[PIXELS])


def newest_frames(pixels: Tensor) -> Tensor:
    """The newest frame of each stack of ``pixels`` [*, K, C, H, W]; of more than `LOOKED_AT` as many, evenly spaced: [M, C, H, W]."""
    frames = pixels[..., -1, :, :, :].flatten(0, -4)
    return frames[torch.linspace(0, len(frames) - 1, min(LOOKED_AT, len(frames))).long()]

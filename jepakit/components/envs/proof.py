"""The start-up proof that an env's ``pixels`` are pixels."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from jepakit.components.envs.frames import to_frame
from jepakit.errors import UserError
from jepakit.protocols import PIXELS, FrameShape


class Rendered(Protocol):
    """An env whose ``pixels`` are what its simulators draw."""

    id: str
    frame_shape: FrameShape
    batch_size: torch.Size
    size: tuple[int, int] | None  #: height and width that a drawn image is resized to; None: its own
    grayscale: bool

    def reset(self) -> Any:
        """Begin new episodes."""
        ...

    def render(self) -> list[NDArray[np.uint8]]:
        """What each simulator draws now, uint8 [H, W, 3]."""
        ...


def prove_pixels(env: Rendered) -> None:
    """Resets the env and holds its ``pixels`` against what its simulators draw.

    Args:
        env: The env, which this leaves at the start of an episode.

    Raises:
        UserError: ``pixels`` are not uint8, not of the recipe's shape, all one value, or not the simulators' ``render()``.
    """
    pixels = env.reset()[PIXELS]
    if pixels.dtype != torch.uint8:
        raise UserError(f"id {env.id}: `pixels` must be uint8, not {str(pixels.dtype).removeprefix('torch.')}")
    shape = (*env.batch_size, *env.frame_shape)
    if pixels.shape != shape:
        raise UserError(f"id {env.id}: `pixels` must be {list(shape)} (envs, frames, channels, height, width), not {list(pixels.shape)}")
    for stack in pixels:
        if (stack == stack.flatten()[0]).all():
            raise UserError(f"id {env.id}: `pixels` hold one value only, {stack.flatten()[0]}: an empty image tells nothing of the state")
    rendered = torch.stack([to_frame(image, env.size, env.grayscale) for image in env.render()])
    if not (pixels == rendered[:, None]).all():
        raise UserError(f"id {env.id}: `pixels` after a reset must be render() through the same resize, K times over, and are not")

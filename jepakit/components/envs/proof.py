"""The start-up check that an env's ``pixels`` are its rendered frames."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from jepakit.components.shared.frames import to_frame
from jepakit.errors import UserError
from jepakit.protocols import PIXELS, FrameShape

FADE_IN = 50  #: steps within which something must be seen
ANIMATED = 0.9  #: share of pixels that must match if the image changes without a step, as BipedalWalker's lidar does


class Rendered(Protocol):
    """An env whose ``pixels`` are what its simulators draw."""

    id: str
    frame_shape: FrameShape
    batch_size: torch.Size
    size: tuple[int, int] | None  #: height and width after resizing; None: not resized
    grayscale: bool

    def reset(self) -> Any:
        """Start new episodes."""
        ...

    def rollout(self, max_steps: int, *, break_when_any_done: bool) -> Any:
        """Take random actions."""
        ...

    def render(self) -> list[NDArray[np.uint8]]:
        """The current image of each simulator, uint8 [H, W, 3]."""
        ...


def prove_pixels(env: Rendered) -> None:
    """Reset the env and compare its ``pixels`` with what its simulators render.

    Args:
        env: The env; it is left at the start of an episode.

    Raises:
        UserError: ``pixels`` are not uint8, do not have the recipe's shape, hold a single value, or differ from ``render()``.
    """
    pixels = env.reset()[PIXELS]
    if pixels.dtype != torch.uint8:
        raise UserError(f"id {env.id}: `pixels` must be uint8, not {str(pixels.dtype).removeprefix('torch.')}")
    shape = (*env.batch_size, *env.frame_shape)
    if pixels.shape != shape:
        raise UserError(f"id {env.id}: `pixels` must be {list(shape)} (envs, frames, channels, height, width), not {list(pixels.shape)}")
    if any(map(_is_empty, pixels)):
        _expect_more_than_one_value(env)
        pixels = env.reset()[PIXELS]
    rendered = _rendered(env)
    same = (pixels == rendered[:, None]).double().mean()
    if same < 1 and (same < ANIMATED or torch.equal(rendered, _rendered(env))):
        raise UserError(f"id {env.id}: `pixels` after a reset must be K copies of render(), resized in the same way, but are not")


def _is_empty(frames: torch.Tensor) -> bool:
    return bool((frames == frames.flatten()[0]).all())


def _expect_more_than_one_value(env: Rendered) -> None:
    """Refuse an env if one of its simulators draws one colour alone for `FADE_IN` steps: some begin with a black screen."""
    with torch.random.fork_rng(devices=[]):
        shown = env.rollout(FADE_IN, break_when_any_done=False)[PIXELS]
    for stacks in shown:
        if all(map(_is_empty, stacks[:, -1])):
            value = stacks.flatten()[0]
            only = f"hold only the value {value}, or one at a time, in {FADE_IN} steps"
            raise UserError(f"id {env.id}: `pixels` {only}: an empty image shows nothing of the state")


def _rendered(env: Rendered) -> torch.Tensor:
    """What every simulator draws now, as a frame each: uint8 [N, C, H, W]."""
    return torch.stack([to_frame(image, env.size, env.grayscale) for image in env.render()])

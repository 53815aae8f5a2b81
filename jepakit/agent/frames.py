"""Stacks the images of a raw Gymnasium env as a run's env does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jepakit.components.shared.frames import to_frame
from jepakit.errors import UserError
from jepakit.protocols import FrameShape


class FrameStack:
    """The last K frames of one env, made of the images that it draws: resized, and grey if the run's are.

    Distractions, repeated actions and other wrappers of the run's env are not part of it.

    Args:
        shape: The shape of a stack: K frames, C channels, height and width.
    """

    def __init__(self, shape: FrameShape) -> None:
        self.shape = shape
        self._stack: NDArray[np.uint8] | None = None

    def reset(self, image: Any) -> NDArray[np.uint8]:
        """Begin an episode with its first ``image``, uint8 [H, W, 3] or grey [H, W]: uint8 [K, C, H, W], K times the same frame.

        Raises:
            UserError: The image is not of that kind.
        """
        self._stack = np.repeat(self._frame(image)[None], self.shape.frames, axis=0)
        return self._stack.copy()

    def add(self, image: Any) -> NDArray[np.uint8]:
        """Add the ``image`` after a step: uint8 [K, C, H, W], the newest frame last.

        Raises:
            UserError: The image is not uint8 [H, W, 3] or [H, W], or no episode has begun.
        """
        if self._stack is None:
            raise UserError("a stack of frames begins with reset(image), at each start of an episode")
        self._stack = np.concatenate([self._stack[1:], self._frame(image)[None]])
        return self._stack.copy()

    def _frame(self, image: Any) -> NDArray[np.uint8]:
        image = np.asarray(image)
        _, channels, height, width = self.shape
        grey = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
        if image.dtype != np.uint8 or not (grey or (image.ndim == 3 and image.shape[2] == 3)) or (grey and channels == 3):
            wanted = "uint8 [H, W, 3]" if channels == 3 else "uint8 [H, W, 3] or [H, W]"
            raise UserError(f"an image must be {wanted}, as `env.render()` draws it; this one is {image.dtype} {list(image.shape)}")
        with torch.no_grad():
            frame: NDArray[np.uint8] = to_frame(image, (height, width), channels == 1).numpy()
        return frame

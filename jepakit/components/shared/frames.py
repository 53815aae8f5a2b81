"""One rendered image -> one frame of an observation."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]  #: Rec. 601: the shares of red, green and blue


def to_frame(drawn: NDArray[np.uint8], size: tuple[int, int] | None, grayscale: bool) -> Tensor:
    """Resize with antialiasing, then convert to grey (Rec. 601 luma, rounded) unless it is grey already.

    Resizing stays in uint8, and grey is computed from the small image: five times faster than on full-size floats.

    Args:
        drawn: The image, uint8 [H, W, 3]; [H, W] or [H, W, 1] is grey already.
        size: Height and width of the frame; None keeps the image's size.
        grayscale: One channel instead of three.

    Returns:
        uint8 [C, height, width]. It shares memory with ``drawn`` if it is neither resized nor converted.
    """
    image = torch.from_numpy(np.require(drawn, requirements=["C", "W"])).view(*drawn.shape[:2], -1).permute(2, 0, 1)
    if size is not None and size != drawn.shape[:2]:
        image = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    if grayscale and len(image) == 3:
        red, green, blue = image.numpy() * LUMA  # NumPy, because PyTorch's calls cost three times as much on a small image
        image = torch.from_numpy(np.rint(red + green + blue).astype(np.uint8))[None]
    return image

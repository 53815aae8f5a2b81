"""What augmentations of images ask of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


def refuse_vectors(kind: str, frames: FrameShape) -> None:
    """Frames of height 1 are state vectors, whose numbers have other meanings than a pixel's place and brightness.

    Raises:
        ValueError: ``frames`` are no images.
    """
    if frames.height == 1:
        raise ValueError(f"{kind} needs images; frames of 1 x {frames.width} are state vectors")

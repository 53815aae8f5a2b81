"""A check shared by components that need images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


def refuse_vectors(kind: str, frames: FrameShape) -> None:
    """Refuse state vectors (frames of height 1): their numbers are not the brightness of pixels side by side.

    Raises:
        ValueError: ``frames`` are not images.
    """
    if frames.height == 1:
        raise ValueError(f"{kind} needs images; frames of 1 x {frames.width} are state vectors")

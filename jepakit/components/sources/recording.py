"""A recording that `jepakit record-episodes` has written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from jepakit.components.shared.recordings import actions_of, read_about, read_recording
from jepakit.protocols import Recording
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec

    from jepakit.protocols import FrameShape


@register("source", "recording")
class Recorded:
    """Episodes that `jepakit record-episodes` has written: frames, actions, rewards. The frames stay on the disk, mapped into memory.

    Args:
        folder: The recording's folder, relative to the recipe that names it.

    Raises:
        ValueError: The folder holds no recording, or one of other frames or actions than the env's.
    """

    data: ClassVar[tuple[str, ...]] = ("folder",)
    lacks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, frames: FrameShape, action_spec: TensorSpec, *, folder: str) -> None:
        self.folder = Path(folder)
        about = read_about(self.folder)
        if about.frame_shape != frames[1:]:
            shapes = f"frames [C, H, W] of {list(about.frame_shape)}; the env's are {list(frames[1:])}"
            raise ValueError(f"folder {folder} holds {shapes}: give the env the same size and colours, or record anew")
        if about.actions != (ours := actions_of(action_spec)):
            raise ValueError(f"folder {folder} holds actions {about.actions}; the env's are {ours}")
        self.env = (about.model_extra or {}).get("env")  #: the block `env` of the recipe that was recorded

    def load(self) -> Recording:
        """Map the frames into memory, and read the steps."""
        return read_recording(self.folder).recording

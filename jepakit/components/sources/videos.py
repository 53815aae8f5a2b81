"""A folder of videos, as frames without actions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor
from torchrl.data import Bounded

from jepakit.components.shared.frames import to_frame
from jepakit.errors import shown
from jepakit.protocols import Recording
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec

    from jepakit.protocols import FrameShape

SUFFIXES = frozenset((".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm"))


@register("source", "videos")
class Videos:
    """A folder of videos, each an episode without actions and rewards: these are zero.

    Frames are resized to the env's, and kept in memory. Each frame counts once, however long it is shown: a step has no fixed duration in a
    video of a variable frame rate.

    The predictor then learns what follows on average, whatever is done. Where an RL run begins with the encoder, it begins with a predictor
    of its own.

    Args:
        folder: The folder, relative to the recipe that names it; the videos lie in it or below.
        every: Keep every n-th frame of a video.

    Raises:
        ValueError: There are no videos in the folder, or one cannot be read or is too short.
    """

    requires: ClassVar[dict[str, str]] = {"imageio_ffmpeg": "pip install 'jepakit[video]'"}
    data: ClassVar[tuple[str, ...]] = ("folder",)
    lacks: ClassVar[tuple[str, ...]] = ("action", "reward", "terminated")

    def __init__(self, frames: FrameShape, action_spec: TensorSpec, *, folder: str, every: PositiveInt = 1) -> None:
        self.frames = frames
        self.action_width = action_spec.shape[-1] if isinstance(action_spec, Bounded) else None
        self.every = every
        self.files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not self.files:
            raise ValueError(f"folder {folder} holds no videos ({', '.join(sorted(SUFFIXES))})")

    def load(self) -> Recording:
        """Decode all videos, in the order of their names."""
        frames: list[Tensor] = []
        ages: list[Tensor] = []
        for file in self.files:
            shown = list(self._shown(file))
            if len(shown) < 2:
                raise ValueError(f"folder {file.parent}: {file.name} has {len(shown)} frames; two are needed")
            frames += shown
            ages.append(torch.arange(len(shown) - 1))
        age = torch.cat(ages)
        first = torch.tensor([0, *(len(each) + 1 for each in ages[:-1])]).cumsum(0)
        done = torch.cat([each == each[-1] for each in ages])
        position = torch.cat([begin + each for begin, each in zip(first, ages, strict=True)])
        action = torch.zeros(len(age), dtype=torch.int64) if self.action_width is None else torch.zeros(len(age), self.action_width)
        return Recording(torch.stack(frames), position, age, action, torch.zeros(len(age)), torch.zeros_like(done), done)

    def _shown(self, file: Path) -> Iterator[Tensor]:
        import imageio_ffmpeg

        _, channels, height, width = self.frames
        try:
            # As stored: by default ffmpeg repeats and drops frames until their rate is constant.
            read: Any = imageio_ffmpeg.read_frames(str(file.absolute()), output_params=["-fps_mode", "passthrough"])
            across, down = next(read)["size"]
            for number, image in enumerate(read):
                if number % self.every == 0:
                    yield to_frame(np.frombuffer(image, np.uint8).reshape(down, across, 3), (height, width), channels == 1).clone()
        except (OSError, RuntimeError, StopIteration, KeyError) as error:
            why = shown(str(error).partition("\n")[0] or type(error).__name__, 200)  # what follows is ffmpeg's own report
            raise ValueError(f"folder {file.parent}: {file.name} cannot be read as a video ({why}): remove it") from error

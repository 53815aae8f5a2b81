"""Writes a video frame by frame: MP4 with ffmpeg, GIF without. No more than one frame is in memory."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jepakit.errors import UserError

QUALITY = 8  #: of 10: text stays sharp
NO_FFMPEG = "there is no ffmpeg, so videos are GIFs: `pip install 'jepakit[video]'` makes them MP4s, smaller and in full colour"


def suffix() -> str:
    """``.mp4`` where ffmpeg is there (imageio-ffmpeg brings it), else ``.gif``."""
    with suppress(ImportError, RuntimeError):
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
        return ".mp4"
    return ".gif"


class Movie:
    """A video being written; as a context manager it is closed at the end of the block.

    Args:
        path: The file, ``.mp4`` or ``.gif``.
        fps: Frames a second.
        quality: Of an MP4, from 0 to 10.

    Raises:
        UserError: The suffix is another, or ``.mp4`` without ffmpeg.
    """

    def __init__(self, path: Path, fps: int, quality: float = QUALITY) -> None:
        if path.suffix not in (".mp4", ".gif"):
            raise UserError(f"{path}: a video's name ends in .mp4 or .gif")
        if path.suffix == ".mp4" and suffix() != ".mp4":
            raise UserError(f"{path}: an MP4 needs ffmpeg: pip install 'jepakit[video]', or name a .gif")
        self.path, self.fps, self.quality = path, fps, quality
        self._ffmpeg: Any = None
        self._gif: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        if kind is None and self.path.suffix == ".mp4":
            self._check()

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Write one frame, uint8 [height, width, 3], both even and the same for all."""
        if self.path.suffix == ".mp4":
            self._add_to_mp4(picture)
        else:
            self._add_to_gif(picture)

    def close(self) -> None:
        """Write the end."""
        if self._ffmpeg:
            self._ffmpeg.close()
        if self._gif:
            self._gif.write(b";")
            self._gif.close()
        self._ffmpeg = self._gif = None

    def _check(self) -> None:
        """Ffmpeg says nothing when it cannot write the end."""
        import imageio_ffmpeg

        with suppress(OSError, RuntimeError):
            if imageio_ffmpeg.count_frames_and_secs(str(self.path))[0] > 0:
                return
        raise UserError(f"can't write {self.path}: ffmpeg could not finish it; is the disk full?")

    def _add_to_mp4(self, picture: NDArray[np.uint8]) -> None:
        import imageio_ffmpeg

        if self._ffmpeg is None:
            size = picture.shape[1], picture.shape[0]
            page = ["-preset", "veryfast", "-movflags", "+faststart"]  # a page plays it before all of it is there
            self._ffmpeg = imageio_ffmpeg.write_frames(
                str(self.path), size, fps=self.fps, codec="libx264", quality=self.quality, macro_block_size=2, output_params=page
            )
            self._ffmpeg.send(None)
        self._ffmpeg.send(np.ascontiguousarray(picture))

    def _add_to_gif(self, picture: NDArray[np.uint8]) -> None:
        # Pillow's own writer holds all frames until it is told that there are no more. So each frame is written as a GIF of its own, whose
        # image moves here, behind its colour table (GIF89a, sections 18 to 22).
        single = BytesIO()
        image = Image.fromarray(picture).quantize(256, method=Image.Quantize.FASTOCTREE)  # ten times as fast as the default
        image.save(single, "gif", optimize=False)
        whole = single.getvalue()
        size = whole[10] & 0b111  # the colour table has 2^(size + 1) colours
        table = whole[13 : 13 + 3 * 2 ** (size + 1)]
        rest = whole[13 + len(table) : -1]
        block = rest[rest.index(b",") :]  # after extensions, if there are any
        if self._gif is None:
            self._gif = self.path.open("wb")
            self._gif.write(b"GIF89a" + whole[6:10] + b"\0\0\0" + b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")  # repeats for ever
        centiseconds = max(2, round(100 / self.fps))  # browsers slow down what is faster
        self._gif.write(b"!\xf9\x04\0" + centiseconds.to_bytes(2, "little") + b"\0\0")
        self._gif.write(block[:9] + bytes([block[9] | 0b1000_0000 | size]) + table + block[10:])

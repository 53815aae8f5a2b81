"""The folder that a recording is written to: complete, or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jepakit.agent.new_folder import new_folder, writing_to
from jepakit.components.shared.recordings import Writer
from jepakit.files.writing import needing


@contextmanager
def written_to(out: Path, size: int) -> Iterator[Writer]:
    """A writer to a folder whose content is that of ``out`` once the block has ended well.

    Args:
        out: A new or empty folder.
        size: Bytes of the frames, for the message of a full disk.

    Raises:
        UserError: ``out`` is not empty or cannot be written, or the disk is full.
    """
    with new_folder(out) as partial, writing_to(out), needing(size, "the recording", partial):
        yield Writer(partial)

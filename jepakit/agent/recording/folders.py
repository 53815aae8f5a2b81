"""The folder that a recording is written to: complete, or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jepakit.components.shared.recordings import Writer
from jepakit.errors import UserError
from jepakit.files.writing import needing, partial_of


@contextmanager
def written_to(out: Path, size: int) -> Iterator[Writer]:
    """A writer to a folder beside ``out``, which is renamed to ``out`` once the block has ended well.

    Args:
        out: A new or empty folder.
        size: Bytes of the frames, for the message of a full disk.

    Raises:
        UserError: ``out`` is not empty or cannot be written, or the disk is full.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: name a new folder")
    partial = partial_of(out.absolute())
    try:
        partial.mkdir(parents=True)
        with needing(size, "the recording", partial):
            yield Writer(partial)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        raise UserError(f"can't write to {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)

"""A folder of results: complete, or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jepakit.errors import UserError
from jepakit.files.writing import partial_of, partials


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write to, whose content is that of ``out`` once the block has ended well; if it has not, nothing is left.

    A folder ``out`` that is there is filled, and not replaced: it may be a mount point or a link, and what it lies in may not be writable.

    Args:
        out: A new or empty folder.

    Raises:
        UserError: ``out`` is not empty or cannot be written.
    """
    inside = out.absolute() / "content"
    with writing_to(out):
        is_there = out.exists()
        if is_there and (not out.is_dir() or set(out.iterdir()) - set(partials(out / inside.name))):
            raise UserError(f"{out} is not empty: name a new folder")
        partial = partial_of(inside if is_there else out.absolute())
        partial.mkdir(parents=True)
    try:
        yield partial
        with writing_to(out):
            if is_there:
                for file in sorted(partial.iterdir(), key=lambda file: file.stat().st_mtime_ns):  # what was written last makes it complete
                    file.rename(out / file.name)
            else:
                partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Turn an error of the disk inside the block into a user's mistake."""
    try:
        yield
    except OSError as error:
        raise UserError(f"can't write to {out}: {error.strerror or error}") from error

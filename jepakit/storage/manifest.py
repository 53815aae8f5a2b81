"""Lists a run's checkpoints and checks whether they are intact, without importing torch.

A manifest holds the checksums of a checkpoint's files, and its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jepakit.errors import UserError, shown, told
from jepakit.files.checkpoints import EVALUATED as EVALUATED
from jepakit.files.checkpoints import Corrupt as Corrupt
from jepakit.files.checkpoints import best_checkpoint as best_checkpoint
from jepakit.files.checkpoints import best_evaluated as best_evaluated
from jepakit.files.checkpoints import checkpoints as checkpoints
from jepakit.files.checkpoints import checksum_of as checksum_of
from jepakit.files.checkpoints import read_manifest as read_manifest
from jepakit.files.writing import digest

FORMAT = 2
FILES = ("weights", "optimizer", "state")  #: a checkpoint's tensor files
FRAMES = re.compile(r"frames-[0-9]{1,20}\.safetensors")  #: files of a replay's frames, which checkpoints share
CONTENT = ("state.json", *(f"{name}.safetensors" for name in FILES))  #: the files that every manifest lists


def newest_whole(folder: Path, warn: Callable[[str], object], frames: Path | None = None) -> Path | None:
    """The newest intact checkpoint; None if there is none.

    Args:
        folder: Folder of the run's checkpoints.
        warn: Called with a message for each newer checkpoint that is corrupt.
        frames: Folder of the replay's frames; None if they are not needed.

    Raises:
        UserError: A checkpoint has another format.
    """
    for path in reversed(checkpoints(folder)):
        try:
            verify(path)
            if frames:
                verify_frames(path, frames)
        except Corrupt as damage:
            warn(f"{path} is corrupt ({damage}): using the previous checkpoint")
        else:
            return path
    return None


def verify(path: Path) -> None:
    """Check a checkpoint against its manifest.

    Raises:
        Corrupt: A file is missing, truncated or changed.
        UserError: Another version of jepakit wrote the checkpoint, in a format that this one does not read.
    """
    if (path / "counters.json").exists():
        raise UserError(f"an older jepakit wrote {path} (format 1); this one reads format {FORMAT}: use the older version")
    manifest = read_manifest(path)
    if manifest["format"] != FORMAT:
        other = f"jepakit {manifest.get('jepakit')} (format {manifest['format']})"
        raise UserError(f"{other} wrote {path}; this one reads format {FORMAT}: use that version")
    for name in CONTENT:
        if name not in manifest["files"]:
            raise Corrupt(f"manifest.json does not list {name}")
        _verify_file(path / name, manifest["files"][name])


def verify_frames(path: Path, folder: Path) -> None:
    """Check the files in ``folder`` that hold a checkpoint's replay frames against the sizes and checksums in the checkpoint.

    Raises:
        Corrupt: A file is missing, truncated or changed, or is not a file of replay frames.
    """
    for segment in _segments(path):
        _verify_file(folder / segment["name"], segment)


def _verify_file(file: Path, expected: Mapping[str, Any]) -> None:
    if not file.is_file():
        raise Corrupt(f"{file.name} is missing")
    if file.stat().st_size != expected["bytes"]:
        raise Corrupt(f"{file.name} has {file.stat().st_size:,} bytes of {expected['bytes']:,}")
    if digest(file) != expected["sha256"]:
        raise Corrupt(f"the contents of {file.name} have changed")


def named_frames(path: Path) -> set[str]:
    """The files of frames that a checkpoint needs; none if it is corrupt, since no run can resume from it."""
    try:
        return {segment["name"] for segment in _segments(path)}
    except (OSError, Corrupt):
        return set()


def _segments(path: Path) -> list[dict[str, Any]]:
    try:
        segments = [{name: one[name] for name in ("name", "bytes", "sha256")} for one in load_state(path)["frames"]]
        odd = [one["name"] for one in segments if not FRAMES.fullmatch(one["name"])]
    except (LookupError, TypeError):
        raise Corrupt("state.json does not say which frames belong to it") from None
    if odd:  # in a folder from somebody else the name may lead outside the run
        raise Corrupt(f"state.json names as a file of frames {shown(odd[0])}")
    return segments


def load_state(path: Path) -> dict[str, Any]:
    """A checkpoint's content other than tensors.

    Raises:
        Corrupt: It is not a JSON object.
    """
    try:
        return dict(json.loads((path / "state.json").read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise Corrupt(f"state.json: {told(error)}") from None

"""Which checkpoints a run has, and whether they are as they were written; looking takes no torch.

A manifest holds the checksums of a checkpoint's files and its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jepakit.errors import UserError, shown, told
from jepakit.files.reading import read_text
from jepakit.files.writing import digest

FORMAT = 2
FILES = ("weights", "optimizer", "state")  #: of tensors
FRAMES = re.compile(r"frames-[0-9]{1,20}\.safetensors")  #: files of a replay's frames, which checkpoints share
CONTENT = ("state.json", *(f"{name}.safetensors" for name in FILES))  #: what a manifest tells of


class Damaged(Exception):
    """A checkpoint is not as it was written; the message says in what."""


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints under ``folder``, oldest first; one that a kill cut short is not among them."""
    return sorted(path for path in folder.glob("[0-9]*") if path.name.isdecimal() and path.is_dir())


def best_checkpoint(folder: Path) -> Path | None:
    """The one with the highest return of the last 100 episodes, the newest of several; None while there is none."""
    returns = {path: value for path in checkpoints(folder) if (value := _return(path)) is not None}
    return max(returns, key=lambda path: (returns[path], path.name), default=None)


def newest_whole(folder: Path, warn: Callable[[str], object], frames: Path | None = None) -> Path | None:
    """The newest checkpoint that is as it was written; None: there is none.

    Args:
        folder: Where checkpoints lie.
        warn: Told of each newer one that is damaged.
        frames: Where the frames of their replay lie; None if they are not needed.

    Raises:
        UserError: A checkpoint is of another format.
    """
    for path in reversed(checkpoints(folder)):
        try:
            verify(path)
            if frames:
                verify_frames(path, frames)
        except Damaged as damage:
            warn(f"{path} is damaged ({damage}): the checkpoint before it is used")
        else:
            return path
    return None


def verify(path: Path) -> None:
    """Hold a checkpoint against its manifest.

    Raises:
        Damaged: A file is missing, cut short or changed.
        UserError: Another jepakit wrote it, in a format that this one does not read.
    """
    if (path / "counters.json").exists():
        raise UserError(f"{path} was written by an older jepakit (format 1); this one reads format {FORMAT}: use that version with it")
    manifest = read_manifest(path)
    if manifest["format"] != FORMAT:
        other = f"jepakit {manifest.get('jepakit')} (format {manifest['format']})"
        raise UserError(f"{path} was written by {other}; this one reads format {FORMAT}: use that version with it")
    for name in CONTENT:
        if name not in manifest["files"]:
            raise Damaged(f"manifest.json does not know of {name}")
        _verify_file(path / name, manifest["files"][name])


def verify_frames(path: Path, folder: Path) -> None:
    """Hold a checkpoint's replayed frames, which lie in ``folder``, against what it says of them.

    Raises:
        Damaged: A file is missing, cut short or changed, or is none of a replay's.
    """
    for segment in _segments(path):
        _verify_file(folder / segment["name"], segment)


def _verify_file(file: Path, expected: Mapping[str, Any]) -> None:
    if not file.is_file():
        raise Damaged(f"{file.name} is missing")
    if file.stat().st_size != expected["bytes"]:
        raise Damaged(f"{file.name} has {file.stat().st_size:,} bytes of {expected['bytes']:,}")
    if digest(file) != expected["sha256"]:
        raise Damaged(f"the contents of {file.name} have changed")


def named_frames(path: Path) -> set[str]:
    """The files of frames that a checkpoint needs; none where it is damaged, and so cannot be gone on from."""
    try:
        return {segment["name"] for segment in _segments(path)}
    except (OSError, Damaged):
        return set()


def _segments(path: Path) -> list[dict[str, Any]]:
    try:
        segments = [{name: one[name] for name in ("name", "bytes", "sha256")} for one in load_state(path)["frames"]]
        odd = [one["name"] for one in segments if not FRAMES.fullmatch(one["name"])]
    except (LookupError, TypeError):
        raise Damaged("state.json does not say which frames belong to it") from None
    if odd:  # in a folder from somebody else the name may lead outside the run
        raise Damaged(f"state.json names as a file of frames {shown(odd[0])}")
    return segments


def load_state(path: Path) -> dict[str, Any]:
    """What a checkpoint holds beside tensors.

    Raises:
        Damaged: It is no JSON, or no object of it.
    """
    try:
        return dict(json.loads((path / "state.json").read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise Damaged(f"state.json: {told(error)}") from None


def read_manifest(path: Path) -> dict[str, Any]:
    """A checkpoint's manifest.

    Raises:
        Damaged: It is none, or is not as it was written.
    """
    try:
        if not (path / "manifest.json").is_file():
            raise Damaged("manifest.json is missing")
        manifest = dict(json.loads(read_text(path / "manifest.json")))
        for expected in manifest["files"].values():
            if not isinstance(expected["bytes"], int):
                raise TypeError
            expected["sha256"]
        manifest["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged("manifest.json cannot be read") from None
    if manifest.get("checksum", checksum := checksum_of(manifest)) != checksum:
        raise Damaged("the contents of manifest.json have changed")
    return manifest


def _return(path: Path) -> float | None:
    try:
        value = read_manifest(path).get("return_last_100")
    except Damaged:
        return None
    return value if isinstance(value, (int, float)) else None


def checksum_of(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of all else that a manifest says, the same in every format: what is newer can be told from what is damaged."""
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()

"""Lists a run's checkpoints and checks whether they are intact, without importing torch.

A manifest holds the checksums of a checkpoint's files, and its own.
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
EVALUATED = "eval_return"  #: in a manifest: the return of the checkpoint's weights in a periodic evaluation, null without one
FILES = ("weights", "optimizer", "state")  #: a checkpoint's tensor files
FRAMES = re.compile(r"frames-[0-9]{1,20}\.safetensors")  #: files of a replay's frames, which checkpoints share
CONTENT = ("state.json", *(f"{name}.safetensors" for name in FILES))  #: the files that every manifest lists


class Corrupt(Exception):
    """A checkpoint is corrupt; the message says how."""


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints under ``folder``, oldest first, without any that a kill cut short."""
    return sorted(path for path in folder.glob("[0-9]*") if path.name.isdecimal() and path.is_dir())


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the highest return, the newest in a tie; None if no checkpoint has one.

    The return is that of the periodic evaluation of its weights (`EVALUATED`) or, if no checkpoint has been evaluated, the mean of the last
    100 training episodes.
    """
    for name in (EVALUATED, "return_last_100"):
        returns = {path: value for path in checkpoints(folder) if (value := _return(path, name)) is not None}
        if returns:
            return max(returns, key=lambda path: (returns[path], path.name))
    return None


def best_evaluated(folder: Path) -> float | None:
    """The highest return of a checkpoint in a periodic evaluation; None if none has been evaluated."""
    return max((value for path in checkpoints(folder) if (value := _return(path, EVALUATED)) is not None), default=None)


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


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a checkpoint's manifest.

    Raises:
        Corrupt: The manifest is missing, malformed or changed.
    """
    try:
        if not (path / "manifest.json").is_file():
            raise Corrupt("manifest.json is missing")
        manifest = dict(json.loads(read_text(path / "manifest.json")))
        for expected in manifest["files"].values():
            if not isinstance(expected["bytes"], int):
                raise TypeError
            expected["sha256"]
        manifest["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Corrupt("manifest.json cannot be read") from None
    if manifest.get("checksum", checksum := checksum_of(manifest)) != checksum:
        raise Corrupt("the contents of manifest.json have changed")
    return manifest


def _return(path: Path, name: str) -> float | None:
    try:
        value = read_manifest(path).get(name)
    except Corrupt:
        return None
    return value if isinstance(value, (int, float)) else None


def checksum_of(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest's other entries, the same in every format, so that a newer checkpoint is not taken for a corrupt one."""
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()

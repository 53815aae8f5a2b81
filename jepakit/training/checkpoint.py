"""Checkpoints: tensors as safetensors, all else as JSON, no pickle; each in a new folder, renamed into place when whole.

A manifest holds every file's checksum and its own, so that a damaged checkpoint is noticed and the one before it is used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import jepakit
from jepakit.errors import UserError
from jepakit.files import digest, needing, to_disk

FORMAT = 2
FILES = ("weights", "optimizer", "state")  #: of tensors
Tensors = dict[str, Tensor]


class Damaged(Exception):
    """A checkpoint is not as it was written; the message says in what."""


class Checkpoint(NamedTuple):
    """What a checkpoint holds."""

    tensors: dict[str, Tensors]  #: by file of `FILES`
    state: dict[str, Any]  #: what JSON can hold


def save_checkpoint(folder: Path, content: Checkpoint, keep: int = 2) -> Path:
    """Write ``folder/<env steps>/``; of the others the newest ``keep - 1`` and the one with the best return stay.

    Args:
        folder: Where checkpoints lie.
        content: Its state must hold ``env_steps`` and ``return_last_100``.
        keep: Newest checkpoints that stay.
    """
    steps = content.state["env_steps"]
    final = folder / f"{steps:012d}"
    if final.exists():  # saved on schedule, and then the run ended
        return final
    for left in folder.glob(".*.partial"):  # by a save that a kill cut short
        shutil.rmtree(left)
    partial = folder / f".{final.name}.partial"
    partial.mkdir(parents=True)
    text = json.dumps(content.state) + "\n"
    size = len(text) + sum(tensor.nbytes for tensors in content.tensors.values() for tensor in tensors.values())
    with needing(size, f"the checkpoint of {steps:,} env steps", folder, partial):
        for name, tensors in content.tensors.items():
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, partial / f"{name}.safetensors")
        (partial / "state.json").write_text(text, encoding="utf-8")
        _write_manifest(partial, content.state)
        for path in (*partial.iterdir(), partial):
            to_disk(path)
        partial.rename(final)
    to_disk(folder)
    _drop_old(folder, keep)
    return final


def _write_manifest(partial: Path, state: Mapping[str, Any]) -> None:
    files = {path.name: {"bytes": path.stat().st_size, "sha256": digest(path)} for path in sorted(partial.iterdir())}
    manifest = {
        "format": FORMAT,
        "jepakit": jepakit.__version__,
        "torch": torch.__version__,
        "env_steps": state["env_steps"],
        "return_last_100": state["return_last_100"],
        "files": files,
    }
    manifest["checksum"] = _checksum(manifest)
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _checksum(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of all else that a manifest says, the same in every format: what is newer can be told from what is damaged."""
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


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
    manifest = _manifest(path)
    if manifest["format"] != FORMAT:
        other = f"jepakit {manifest.get('jepakit')} (format {manifest['format']})"
        raise UserError(f"{path} was written by {other}; this one reads format {FORMAT}: use that version with it")
    for name in ("state.json", *(f"{name}.safetensors" for name in FILES)):
        if name not in manifest["files"]:
            raise Damaged(f"manifest.json does not know of {name}")
        _verify_file(path / name, manifest["files"][name])


def verify_frames(path: Path, folder: Path) -> None:
    """Hold a checkpoint's replayed frames, which lie in ``folder``, against what it says of them.

    Raises:
        Damaged: A file is missing, cut short or changed.
    """
    for segment in load_state(path)["frames"]:
        _verify_file(folder / segment["name"], segment)


def _verify_file(file: Path, expected: Mapping[str, Any]) -> None:
    if not file.is_file():
        raise Damaged(f"{file.name} is missing")
    if file.stat().st_size != expected["bytes"]:
        raise Damaged(f"{file.name} has {file.stat().st_size:,} bytes of {expected['bytes']:,}")
    if digest(file) != expected["sha256"]:
        raise Damaged(f"the contents of {file.name} have changed")


def load_tensors(path: Path, name: str) -> Tensors:
    """One of a checkpoint's files of tensors.

    Raises:
        Damaged: It holds something else.
    """
    try:
        return load_file(path / f"{name}.safetensors")
    except SafetensorError as error:
        raise Damaged(f"{name}.safetensors: {error}") from None


def load_state(path: Path) -> dict[str, Any]:
    """What a checkpoint holds beside tensors."""
    return dict(json.loads((path / "state.json").read_text(encoding="utf-8")))


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = dict(json.loads((path / "manifest.json").read_text(encoding="utf-8")))
        for expected in manifest["files"].values():
            if not isinstance(expected["bytes"], int):
                raise TypeError
            expected["sha256"]
        manifest["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged("manifest.json cannot be read") from None
    if manifest.get("checksum", checksum := _checksum(manifest)) != checksum:
        raise Damaged("the contents of manifest.json have changed")
    return manifest


def _return(path: Path) -> float | None:
    try:
        value = _manifest(path).get("return_last_100")
    except Damaged:
        return None
    return value if isinstance(value, (int, float)) else None


def _drop_old(folder: Path, keep: int) -> None:
    best = best_checkpoint(folder)
    for old in checkpoints(folder)[:-keep]:
        if old != best:
            shutil.rmtree(old)


def checked_names(into: Mapping[str, Tensor], stored: Mapping[str, Tensor], path: Path) -> None:
    """Both hold tensors of the same names and shapes.

    Raises:
        UserError: They do not: the checkpoint was written by other components than the recipe's.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in into.items()}
    odd = sorted(shapes.items() ^ {name: tuple(tensor.shape) for name, tensor in stored.items()}.items())
    if odd:
        raise UserError(f"{path}: does not fit the recipe's components; the first that differs: {odd[0][0]}")

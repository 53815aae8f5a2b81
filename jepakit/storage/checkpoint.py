"""Checkpoints: tensors as safetensors, all else as JSON, no pickle; each in a new folder, renamed into place when complete.

A manifest holds every file's checksum, so that a corrupt checkpoint is noticed and the previous one is used (`manifest`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from jepakit.errors import UserError, shown
from jepakit.files.tensors import save_tensors
from jepakit.files.writing import digest, needing, to_disk
from jepakit.storage.folder import refuse_undecodable
from jepakit.storage.manifest import EVALUATED, FORMAT, Corrupt, best_checkpoint, checkpoints, checksum_of
from jepakit.version import __version__

Tensors = dict[str, Tensor]


class Checkpoint(NamedTuple):
    """The content of a checkpoint."""

    tensors: dict[str, Tensors]  #: by file, one of `FILES`
    state: dict[str, Any]  #: JSON values


def save_checkpoint(folder: Path, content: Checkpoint, keep: int = 2) -> Path:
    """Write ``folder/<env steps>/``, then delete all but the newest ``keep`` checkpoints and the best.

    Args:
        folder: Folder of the run's checkpoints.
        content: The content; its state must hold ``env_steps`` and ``return_last_100``, and may hold ``eval_return``.
        keep: How many of the newest checkpoints to keep.
    """
    steps = content.state["env_steps"]
    final = folder / f"{steps:012d}"
    if final.exists():  # saved on schedule just before the run ended
        return final
    for left in folder.glob(".*.partial"):  # left by a kill during a save
        shutil.rmtree(left)
    partial = folder / f".{final.name}.partial"
    partial.mkdir(parents=True)
    text = json.dumps(content.state) + "\n"
    size = len(text) + sum(tensor.nbytes for tensors in content.tensors.values() for tensor in tensors.values())
    with needing(size, f"the checkpoint of {steps:,} env steps", folder, partial):
        for name, tensors in content.tensors.items():
            save_tensors(tensors, partial / f"{name}.safetensors")
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
        "jepakit": __version__,
        "torch": torch.__version__,
        "env_steps": state["env_steps"],
        "return_last_100": state["return_last_100"],
        EVALUATED: state.get(EVALUATED),
        "files": files,
    }
    manifest["checksum"] = checksum_of(manifest)
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def load_tensors(path: Path, name: str) -> Tensors:
    """Load one of a checkpoint's tensor files.

    Raises:
        Corrupt: The file is not valid safetensors.
        UserError: The path is not UTF-8.
    """
    refuse_undecodable(path)
    try:
        return load_file(path / f"{name}.safetensors")
    except SafetensorError as error:
        raise Corrupt(f"{name}.safetensors: {error}") from None


def _drop_old(folder: Path, keep: int) -> None:
    best = best_checkpoint(folder)
    for old in checkpoints(folder)[:-keep]:
        if old != best:
            shutil.rmtree(old)


def checked_names(into: Mapping[str, Tensor], stored: Mapping[str, Tensor], path: Path) -> None:
    """Check that both hold tensors of the same names, shapes and types.

    Raises:
        UserError: They differ, because other components than the recipe's wrote the checkpoint.
    """
    ours, theirs = ({(name, tensor.shape, tensor.dtype) for name, tensor in side.items()} for side in (into, stored))
    if odd := sorted(name for name, *_ in ours ^ theirs):
        raise UserError(f"{path}: does not fit the recipe's components; first tensor that differs: {shown(odd[0])}")

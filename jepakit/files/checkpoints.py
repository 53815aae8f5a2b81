"""Lists a run's checkpoints with what their manifests say, and finds the file of weights that a path means. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jepakit.files.reading import read_text

EVALUATED = "eval_return"  #: in a manifest: the return of the checkpoint's weights in a periodic evaluation, null without one
WEIGHTS = "weights.safetensors"


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


def weights_file(path: Path) -> Path:
    """The file of weights that ``path`` means.

    That is the file itself, the one in a checkpoint's or an exported folder, or, of a run's folder, the one of the best checkpoint
    (`best_checkpoint`), or of the newest if none has a return. If there is none, it is the file that should be there.
    """
    if not path.is_dir():
        return path
    if (path / WEIGHTS).exists():
        return path / WEIGHTS
    saved = checkpoints(path / "checkpoints")
    chosen = best_checkpoint(path / "checkpoints") or (saved[-1] if saved else path)
    return chosen / WEIGHTS

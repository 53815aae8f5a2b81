"""Writes tensors to files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a ``.safetensors`` file that those may read who may read its folder: safetensors gives it to its owner alone."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(path.parent.stat().st_mode & 0o666)

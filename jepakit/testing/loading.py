"""Imports a component's file by its path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any


def load_file(path: str | Path) -> Any:
    """Import a Python file wherever it lies: its folder need not be importable. What it registers is registered.

    Args:
        path: The file.

    Returns:
        The module.

    Raises:
        ImportError: It is not a Python file.
    """
    path = Path(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

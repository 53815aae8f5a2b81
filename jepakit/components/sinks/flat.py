"""A recipe's values by path, for tools whose hyper-parameters are not nested."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each value with its path, such as ``regularizers.0.weight``; a list of plain values is one value."""
    nested: Any = None
    if isinstance(value, dict):
        nested = value.items()
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        nested = enumerate(value)
    if not nested:
        yield path, value
        return
    for name, entry in nested:
        yield from flattened(entry, f"{path}.{name}".lstrip("."))

"""An engine from what a user writes: ``local``, ``{kind: ray, cpus: 2}``, a mapping, or an engine itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepakit import registry
from jepakit.errors import UserError
from jepakit.protocols import Engine
from jepakit.recipe.load import load_component

AnyEngine = str | Mapping[str, Any] | Engine | None


def load_engine(engine: AnyEngine = None, name: str = "--engine") -> Engine:
    """Build an engine.

    Args:
        engine: A kind, or YAML of a mapping with a ``kind``; a mapping; a built engine; None: ``local``.
        name: What the user calls it, for messages.

    Raises:
        UserError: There is no such engine, a field is wrong, or a package is not installed.
    """
    if engine is None or isinstance(engine, str | Mapping):
        fields = load_component("engine", engine or "local", name, "{kind: ray, cpus: 1}")
        try:
            built: Engine = registry.build("engine", fields)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from error
        return built
    return engine

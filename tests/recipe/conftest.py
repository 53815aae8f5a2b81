"""Small components of every needed slot, and recipes written to files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, NonNegativeFloat, PositiveInt

from jepakit.recipe import Problem, RecipeError, load_recipe
from jepakit.registry import load_builtins, register, table


class Lax(BaseModel):
    """A component author's own model, with pydantic's lax default rules."""

    count: int


class FakeEnv:
    """Takes fields of every type."""

    def __init__(
        self,
        seed: int,
        *,
        id: str,
        num_envs: PositiveInt = 8,
        size: tuple[PositiveInt, PositiveInt] = (80, 120),
        grayscale: bool = True,
        limit: PositiveInt | None = None,
        extras: dict[str, Any] | None = None,
        depth: PositiveInt | list[PositiveInt] = 8,
        lax: Lax | None = None,
        widths: list[PositiveInt | Literal["auto"]] | None = None,
    ) -> None: ...


class Small:
    """An encoder."""

    def __init__(
        self, frames: object, *, dim: Annotated[int, Field(ge=1, le=512)] = 64, scaling: Literal["plain", "inverted"] = "plain"
    ) -> None: ...


class Large:
    """Another encoder, which shares one field with the first."""

    def __init__(self, frames: object, *, dim: PositiveInt = 512, layers: PositiveInt = 8) -> None: ...


class Spread:
    """A regularizer."""

    def __init__(self, *, threshold: NonNegativeFloat = 1.0) -> None: ...


@pytest.fixture(autouse=True)
def small_components(monkeypatch: pytest.MonkeyPatch) -> None:
    load_builtins()
    monkeypatch.setattr(table, "_table", dict(table._table))
    register("env", "fake")(FakeEnv)
    register("encoder", "small")(Small)
    register("encoder", "large")(Large)
    register("regularizer", "spread")(Spread)
    register("regularizer", "spread2")(type("Spread2", (Spread,), {}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], Path]:
    """Writes a file and returns its path, relative to the current folder."""

    def write(name: str, text: str) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        return Path(name)

    return write


@pytest.fixture
def problems(write: Callable[[str, str], Path]) -> Callable[..., tuple[Problem, ...]]:
    """The problems of a recipe's text."""

    def problems(text: str, overrides: Sequence[str] = (), **options: Any) -> tuple[Problem, ...]:
        with pytest.raises(RecipeError) as error:
            load_recipe(write("r.yaml", text), overrides, **options)
        return error.value.problems

    return problems

"""Sinks that break one rule of their slot fail only that rule."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jepakit import MirroredRun
from jepakit.registry import load_builtins, register, table
from jepakit.testing import NonConformant, check_component


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    load_builtins()
    monkeypatch.setattr(table, "_table", dict(table._table))


class Sound:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, run: MirroredRun) -> int:
        return run.held

    def metrics(self, record: Mapping[str, float], env_steps: int, time: float) -> None: ...

    def event(self, record: Mapping[str, Any]) -> None: ...

    def flush(self) -> dict[str, Any]:
        return {"id": "abc"}

    def end(self, summary: Mapping[str, Any] | None) -> None: ...


class Hasty(Sound):
    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)


class Partial:
    def __init__(self, folder: Path) -> None: ...

    def begin(self, run: MirroredRun) -> int:
        return 0


class Fussy(Sound):
    def end(self, summary: Mapping[str, Any] | None) -> None:
        assert summary is not None


class Unwritable(Sound):
    def flush(self) -> dict[str, Any]:
        return {1: Path()}  # type: ignore[dict-item]


class Boastful(Sound):
    def begin(self, run: MirroredRun) -> int:
        return 10**9 if run.state else 0


class Drawing(Sound):
    def metrics(self, record: Mapping[str, float], env_steps: int, time: float) -> None:
        random.random()


def test_a_sound_sink_breaks_no_rule() -> None:
    register("sink", "mine")(Sound)
    check_component("sink", Sound)


@pytest.mark.parametrize(
    ("cls", "rule"),
    [
        (Hasty, "construction"),
        (Partial, "protocol"),
        (Fussy, "records"),
        (Unwritable, "state"),
        (Boastful, "continuation"),
        (Drawing, "random numbers"),
    ],
)
def test_a_sink_that_breaks_one_rule_fails_only_that_rule(cls: type, rule: str) -> None:
    register("sink", "mine")(cls)
    with pytest.raises(NonConformant) as found:
        check_component("sink", cls)
    assert list(found.value.broken) == [rule]

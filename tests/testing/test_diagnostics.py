"""Diagnostics that break one rule of their slot fail only that rule."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from jepakit.registry import load_builtins, register, table
from jepakit.testing import NonConformant, check_component


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    load_builtins()
    monkeypatch.setattr(table, "_table", dict(table._table))


class Counting:
    """Its state survives."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, s_x: Tensor) -> dict[str, Any]:
        self.calls += 1
        return {"counting/calls": self.calls, "counting/first": s_x[0, :4]}

    def state_dict(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.calls = state["calls"]


class Curious(Counting):
    def __call__(self, s_x: Tensor, learner: Any) -> dict[str, Any]:  # type: ignore[override]
        return {}


class Nameless(Counting):
    def __call__(self, s_x: Tensor) -> dict[str, Any]:
        return {"calls": 1}


class Fragile(Counting):
    def __call__(self, s_x: Tensor) -> dict[str, Any]:
        assert s_x.var() > 0
        return {}


class Scribbling(Counting):
    def __call__(self, s_x: Tensor) -> dict[str, Any]:
        s_x += 1
        return {}


class Forgetful(Counting):
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def test_a_sound_diagnostic_breaks_no_rule() -> None:
    register("diagnostic", "mine")(Counting)
    check_component("diagnostic", Counting)


@pytest.mark.parametrize(
    ("cls", "rule"), [(Curious, "looks"), (Nameless, "figures"), (Fragile, "figures"), (Scribbling, "inputs"), (Forgetful, "state")]
)
def test_a_diagnostic_that_breaks_one_rule_fails_only_that_rule(cls: type, rule: str) -> None:
    register("diagnostic", "mine")(cls)
    with pytest.raises(NonConformant) as found:
        check_component("diagnostic", cls)
    assert list(found.value.broken) == [rule]

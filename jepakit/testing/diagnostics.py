"""The rules for diagnostics."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from jepakit.testing.modules import Make
from jepakit.testing.rules import Rules, expect
from jepakit.testing.settings import Setting
from jepakit.training.monitoring.diagnoses import Named

ROWS = 9


def check_diagnostic(rules: Rules, make: Make, setting: Setting) -> None:
    """A diagnostic turns the `LOOKS` that it names into figures, changes none of them, and finds its state in the checkpoint."""
    with rules.rule("looks", "name only what `jepakit.protocols.LOOKS` lists"):
        first = Named("", make(0))
    if rules.broken:
        return
    given = _looks(setting)
    constant, zero = ({**given, "s_x": s_x, "embed": lambda pixels: pixels.flatten(1).float()[:, :1] * 0} for s_x in _collapsed(setting))
    with rules.rule("figures", "return a mapping: a name with a `/` -> a number, or a list of at most 64 numbers"), torch.no_grad():
        for looks in (given, given, constant, zero):
            first.measure(looks)
    if "figures" in rules.broken:
        return
    with rules.rule("inputs", "others read the same tensors: do not change them in place"), torch.no_grad():
        before = {name: _copied(value) for name, value in given.items()}
        Named("", make(0)).measure(given)
        changed = [name for name, value in given.items() if not _equal(value, before[name])]
        expect(not changed, f"it changes its input `{changed[0] if changed else ''}`")
    with rules.rule("state", "give it state_dict() and load_state_dict(state): a resumed run must record the same"), torch.no_grad():
        one, other = Named("", make(0)), Named("", make(0))
        one.measure(given)
        if hasattr(one.diagnostic, "state_dict"):
            state = one.diagnostic.state_dict()
            json.dumps(state, default=lambda value: expect(isinstance(value, Tensor), f"its state holds {type(value).__name__}"))
            other.diagnostic.load_state_dict(_copied(state))  # type: ignore[attr-defined]
        figures = []
        for each in (one, other):
            torch.manual_seed(1)
            figures.append(repr(each.measure(_looks(setting))))
        expect(figures[0] == figures[1], "after a first call, a second differs from that of a new one with its state")


def _collapsed(setting: Setting) -> tuple[Tensor, Tensor]:
    return setting.embeddings(1).repeat(ROWS, 1), torch.zeros(ROWS, setting.width)


def _looks(setting: Setting) -> dict[str, Any]:
    """All of `LOOKS`."""
    encoder, horizon = setting.encoder(), 2
    weights = {f"{part}.weight": torch.randn(3, 2) for part in ("encoder", "algorithm")}
    return {
        "pixels": setting.pixels(ROWS),
        "s_x": setting.embeddings(ROWS),
        "embed": encoder,
        **{name: setting.embeddings(ROWS, horizon) for name in ("s_y_hat", "s_y", "s_y_copied")},
        "inside": torch.tensor([[True, True]] * (ROWS - 1) + [[True, False]]),
        "policy": {"entropy": torch.tensor(0.5)},
        "values": torch.randn(ROWS),
        "value_targets": torch.randn(ROWS),
        "gradients": {"jepa": {name: torch.randn_like(tensor) for name, tensor in weights.items()}, "critic": {}},
        "weights_before": weights,
        "weights_after": {name: tensor + 0.1 for name, tensor in weights.items()},
    }


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(entry) for name, entry in value.items()}
    return value.clone() if isinstance(value, Tensor) else value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    return torch.equal(one, other) if isinstance(one, Tensor) else one is other

"""An update's parts never ask the device for a number: they compute on torch's device that has none."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jepakit import registry
from jepakit.components.regularizers.sigreg import SIGReg
from jepakit.components.targets.periodic import Periodic
from jepakit.protocols import FrameShape
from jepakit.recipe.slots import InSlot
from jepakit.testing.parts import minibatch
from jepakit.testing.settings import Setting, settings
from jepakit.training.terms import WeightedTerm

DEVICE = torch.device("meta")
FRAMES = [FrameShape(4, 1, 80, 80), FrameShape(3, 1, 1, 4)]  #: pixels and state vectors
SLOTS = ("encoder", "target", "predictor", "objective", "projector", "regularizer", "auxiliary", "augmentation")
KINDS = [
    pytest.param(slot, known.kind, fields, id=" ".join((slot, known.kind, *fields.values())))
    for slot in SLOTS
    for known in registry.components(slot)
    if not known.missing
    for fields in ({}, {"scaling": "normalized"})
    if fields.keys() <= known.fields.model_fields.keys()
]


def built(slot: str, kind: str, fields: dict[str, Any]) -> tuple[Any, Setting]:
    """A component on ``DEVICE``, in the first setting that it supports, and the setting."""
    refusals = []
    for setting in settings(FRAMES, both_actions=True):
        setting = Setting(setting.frames, setting.action_spec, width=64)
        given = {"frames": setting.frames, "action_spec": setting.action_spec, "embedding_width": setting.width}
        try:
            component = registry.build(slot, InSlot(slot).validate({"kind": kind, **fields}), **given, encoder=setting.encoder().to(DEVICE))
        except ValueError as refusal:
            refusals.append(str(refusal))
        else:
            return component.to(DEVICE) if isinstance(component, nn.Module) else component, setting
    raise AssertionError(refusals)


def inputs(slot: str, component: Any, setting: Setting) -> list[Tensor]:
    """What the slot's protocol passes on, for seven rows."""
    if slot in ("encoder", "target", "augmentation"):
        return [setting.pixels(7)]
    if slot in ("objective", "projector"):
        return [setting.embeddings(7) for _ in inspect.signature(component.forward).parameters]
    if slot == "predictor":
        return [setting.embeddings(7), setting.action(7)]
    given = minibatch(setting, 7)
    return [given[name] for name in WeightedTerm(component, 1.0).inputs]


@pytest.mark.parametrize(("slot", "kind", "fields"), KINDS)
def test_a_component_asks_for_no_number(slot: str, kind: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # torch has none for this device
    component, setting = built(slot, kind, fields)
    given = [each.to(DEVICE) for each in inputs(slot, component, setting)]
    computed = component(*[each.requires_grad_() if each.is_floating_point() else each for each in given])
    assert computed.device == DEVICE
    if computed.requires_grad:
        computed.sum().backward()
    if slot == "target":
        component.update(setting.encoder().to(DEVICE))


def test_asking_would_be_an_error() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(torch.ones((), device=DEVICE))


def test_a_count_of_updates_stays_in_host_memory_and_in_the_state() -> None:
    with DEVICE:
        regularizer = SIGReg()
    target = Periodic(nn.Linear(2, 2), every=2).to(DEVICE).to(torch.float64)
    for counted in (regularizer, target):
        assert (counted.updates.device.type, counted.updates.dtype) == ("cpu", torch.int64)
        assert "updates" in counted.state_dict()
    assert target.encoder.weight.device == DEVICE
    target.update(nn.Linear(2, 2, device=DEVICE, dtype=torch.float64))
    assert target.updates == 1

"""Checks one component against all rules of its slot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from jepakit import registry
from jepakit.errors import UserError, suggestion
from jepakit.protocols import FrameShape
from jepakit.recipe.slots import InSlot
from jepakit.testing.algorithms import check_algorithm
from jepakit.testing.diagnostics import check_diagnostic
from jepakit.testing.encoders import check_encoder, check_target
from jepakit.testing.envs import check_env, check_source
from jepakit.testing.modules import Make
from jepakit.testing.outside.collectors import check_collector
from jepakit.testing.outside.engines import check_engine
from jepakit.testing.outside.sinks import check_sink
from jepakit.testing.parts import (
    check_augmentation,
    check_curiosity,
    check_distraction,
    check_objective,
    check_planner,
    check_predictor,
    check_projector,
    check_term,
)
from jepakit.testing.rules import NonConformant, Rules
from jepakit.testing.settings import FRAME_SHAPES, Setting, settings

CHECKS: dict[str, Callable[[Rules, Make, Setting], None]] = {
    "env": check_env,
    "encoder": check_encoder,
    "target": check_target,
    "predictor": check_predictor,
    "objective": check_objective,
    "projector": check_projector,
    "regularizer": check_term,
    "auxiliary": check_term,
    "augmentation": check_augmentation,
    "distraction": check_distraction,
    "algorithm": check_algorithm,
    "collector": check_collector,
    "curiosity": check_curiosity,
    "diagnostic": check_diagnostic,
    "planner": check_planner,
    "sink": check_sink,
    "engine": check_engine,
    "source": check_source,
}


def check_component(
    slot: str, component: str | type, /, *, frame_shapes: Iterable[FrameShape | Sequence[int]] = FRAME_SHAPES, **fields: Any
) -> None:
    """Check a component against all rules of its slot.

    The component is built and called several times: with every shape of ``frame_shapes``, with embeddings of several widths and, if its
    slot receives actions, with both discrete and continuous ones. A ``ValueError`` from its constructor means that it does not support the
    case; if it refuses a whole kind of actions, the message must say so. Torch's generator is restored.

    Args:
        slot: A slot, such as ``encoder``.
        component: The component's kind, or the registered class.
        frame_shapes: (K, C, H, W) of the frames to try; shapes with H = 1 are state vectors.
        fields: The component's fields, as a recipe would write them beside ``kind``.

    Raises:
        NonConformant: The component breaks rules, or ``fields`` are invalid. For each, the message says what was expected, what was found
            and what to do.
        UserError: There is no such component, or it needs a package that is not installed.
    """
    found = _find(slot, component)
    config = _fields(found, fields)
    if found.missing:
        raise UserError(f"{slot} `{found.kind}` needs a package that is not installed: {found.missing}")
    rules = Rules()
    refusals: dict[Setting, str] = {}
    context = registry.SLOTS[slot].context
    tried = [*settings([FrameShape(*shape) for shape in frame_shapes], "action_spec" in context)]
    tried = tried[:1] if slot in ("env", "collector", "sink", "engine") else tried
    with _undisturbed():
        for setting in tried:
            rules.setting = setting.told(context)
            make = _maker(slot, config, setting)
            with rules.rule("construction", "a constructor that can't take a value raises ValueError"):
                try:
                    make(0)
                except ValueError as refusal:
                    refusals[setting] = str(refusal)
                    continue
                CHECKS[slot](rules, make, setting)
    _check_refusals(rules, refusals, tried)
    if rules.broken:
        raise NonConformant(_named(found), rules.broken)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Restores torch's generators afterwards; uses one thread, which is fastest for such small tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads(threads)


def _find(slot: str, component: str | type) -> registry.Component:
    if isinstance(component, str):
        registry.components(slot)  # raises first if the slot is unknown
        return registry.component(slot, component)
    if known := registry.component_of(slot, component):
        return known
    raise UserError(f"{component.__qualname__} is not registered: write @register({slot!r}, 'some_name') above the class")


def _fields(found: registry.Component, fields: Mapping[str, Any]) -> Any:
    """The component's fields, as a recipe with ``fields`` would set them."""
    try:
        return InSlot(found.slot).validate({"kind": found.kind, **fields})
    except (ValidationError, PydanticCustomError) as error:
        known = [name for name in found.fields.model_fields if name != "kind"]
        problems = error.errors() if isinstance(error, ValidationError) else [{"loc": (), "type": "", "msg": error.message()}]
        broken: dict[str, str] = {}
        for problem in problems:
            name = ".".join(map(str, problem["loc"])) or "fields"
            unknown = problem["type"] == "extra_forbidden"
            broken[f"field `{name}`"] = (
                f"there is none of that name; {suggestion(name, known, 'there are')}" if unknown else str(problem["msg"])
            )
        raise NonConformant(_named(found), broken) from None


def _named(found: registry.Component) -> str:
    return f"{found.slot} `{found.kind}` ({found.cls.__qualname__} at {found.place})"


def _maker(slot: str, config: Any, setting: Setting) -> Make:
    torch.manual_seed(0)
    context: dict[str, Any] = {"frames": setting.frames, "action_spec": setting.action_spec, "embedding_width": setting.width}
    context["encoder"] = setting.encoder()

    def make(seed: int, **other: Any) -> Any:
        torch.manual_seed(seed)
        return registry.build(slot, config, **{"seed": seed, "processes": 1, "folder": Path(), **context, **other})

    return make


_TO_FIT = "if it needs certain frames, pass them (frame_shapes=[...]); if its fields must fit the embedding's width, give those"


def _check_refusals(rules: Rules, refusals: Mapping[Setting, str], tried: Sequence[Setting]) -> None:
    """A component may refuse some cases but not all; if it refuses a whole kind of actions, its message must say so."""
    if len(refusals) == len(tried):
        reason = next(iter(refusals.values()))
        rules.add("construction", f"it refuses all settings: {reason}", _TO_FIT)
        return
    for actions in {setting.actions for setting in tried}:
        reasons = [refusals.get(setting, "") for setting in tried if setting.actions == actions]
        rules.setting = f"{actions} actions"
        if all(reasons) and not any(word in reasons[0].lower() for word in ("action", "discrete", "continuous")):
            rules.add("construction", f"it refuses all {actions} actions: {reasons[0]}", "say in the message that it is the actions")

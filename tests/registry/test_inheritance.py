"""A subclass of a component names only the fields that it adds, and inherits the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field
from torch import nn

from jepakit import registry
from jepakit.components.algorithms.ppo import PPO
from jepakit.components.encoders.vit import ViT
from jepakit.registry import Component, register
from jepakit.registry.signature import RegistrationError
from jepakit.training.run import run


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    registry.load_builtins()
    yield
    registry.forget(lambda module: module == __name__)


def component(slot: str, cls: type) -> Component:
    register(slot, "mine")(cls)
    return registry.component(slot, "mine")


class Wide(ViT):
    """A ViT with one more field.

    Args:
        boost: What s_x is multiplied by.
    """

    def __init__(self, *, boost: Annotated[float, Field(gt=0)] = 2.0, depth: int = 1, **rest: Any) -> None:
        super().__init__(depth=depth, **rest)
        self.boost = boost

    def forward(self, pixels: Any) -> Any:
        return self.boost * super().forward(pixels)


class Counts(nn.Module):
    """A mixin with its own field."""

    def __init__(self, *, count: int = 3, **rest: Any) -> None:
        super().__init__(**rest)
        self.count = count


def test_fields_context_defaults_and_descriptions_are_inherited() -> None:
    found, vit = component("encoder", Wide), registry.component("encoder", "vit")
    fields, inherited = found.fields.model_fields, vit.fields.model_fields
    assert found.context == vit.context
    assert set(fields) == {*inherited, "boost"}
    assert (fields["boost"].default, fields["depth"].default) == (2.0, 1)  # the subclass's default wins
    for name in set(inherited) - {"kind", "depth"}:
        assert (fields[name].default, fields[name].description) == (inherited[name].default, inherited[name].description)
    assert fields["depth"].description == inherited["depth"].description
    assert fields["boost"].description == "What s_x is multiplied by."


def test_fields_are_inherited_over_two_levels_and_from_a_mixin() -> None:
    class Both(Counts, Wide):
        def __init__(self, *, note: bool = False, **rest: Any) -> None:
            super().__init__(**rest)

    fields = component("encoder", Both).fields.model_fields
    assert {"note", "count", "boost", "patch"} <= set(fields)


def test_an_argument_that_a_subclass_fixes_is_no_field() -> None:
    class OneEpoch(PPO):
        def __init__(self, **rest: Any) -> None:
            super().__init__(epochs=1, **rest)

    fields = component("algorithm", OneEpoch).fields
    assert "epochs" not in fields.model_fields
    with pytest.raises(ValueError, match="epochs"):
        fields.model_validate({"kind": "mine", "epochs": 2})


def test_an_argument_fixed_by_position_is_no_field() -> None:
    class Base:
        def __init__(self, size: int, *, width: int = 3) -> None: ...

    class Fixed(Base):
        def __init__(self, **rest: Any) -> None:
            super().__init__(7, **rest)

    found = component("encoder", Fixed)
    assert (found.context, set(found.fields.model_fields)) == ((), {"kind", "checkpoint", "frozen", "simnorm", "width"})


def test_rest_without_a_base_that_takes_fields_is_an_error() -> None:
    class Loose(nn.Module):
        def __init__(self, **rest: Any) -> None:
            super().__init__()

    with pytest.raises(RegistrationError, match=r"`\*\*rest: .*` names no field"):
        register("encoder", "mine")(Loose)


def test_a_recipe_trains_with_subclasses(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from jepakit import register\nfrom jepakit.components.algorithms.ppo import PPO\n"
        "from jepakit.components.encoders.vit import ViT\n\n"
        "@register('algorithm', 'my_ppo')\nclass MyPPO(PPO):\n    def __init__(self, *, bonus: float = 0.5, **rest):\n"
        "        super().__init__(**rest)\n        self.bonus = bonus\n\n"
        "@register('encoder', 'my_vit')\nclass MyViT(ViT):\n    def __init__(self, *, boost: float = 2.0, **rest):\n"
        "        super().__init__(**rest)\n        self.boost = boost\n"
    )
    small = ["total_steps=64", "env.num_envs=2", "algorithm.rollout_steps=16", "algorithm.minibatch_size=16", "threads=1"]
    kinds = [f"plugins=[{tmp_path / 'mine.py'}]", "encoder={kind: my_vit, patch: 20, boost: 1.5}", "algorithm={kind: my_ppo, bonus: 0.1}"]
    assert run("cartpole_pixels", overrides=[*kinds, *small], out=tmp_path / "out", quiet=True).summary["status"] == "finished"

"""What `jepakit new --from KIND` writes: a subclass of a kind with one more field, and its test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from torch import nn

from jepakit.errors import UserError, listing
from jepakit.registry import Component
from jepakit.registry.signature import constructors

_IDS = {"minigrid": "MiniGrid-Empty-5x5-v0"}  #: by kind of env, the id of a small one; of all others CartPole's will do


def required(base: Component) -> dict[str, str]:
    """A value for each field of ``base`` that has no default.

    Raises:
        UserError: There is one for which no value is known.
    """
    fields = [name for name, info in base.fields.model_fields.items() if info.is_required()]
    if unknown := [name for name in fields if name != "id"]:
        raise UserError(f"`{base.kind}` needs a value for {listing(unknown)}: write its subclass by hand (docs/components.md)")
    return {name: _IDS.get(base.kind, "CartPole-v1") for name in fields}


class _Example(NamedTuple):
    """A field that the subclass adds, and the method that uses it."""

    field: str
    default: float
    meaning: str
    imports: tuple[str, ...] = ()
    method: str = ""


_FIELD = _Example("gain", 1.0, "What the field does, and its unit. No method uses it yet: override one.")
_EXAMPLES = {
    "encoder": _Example(
        field="gain",
        default=1.0,
        meaning="Factor of s_x.",
        imports=("from torch import Tensor",),
        method='''
    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D]."""
        return self.{field} * super().forward(pixels)
''',
    ),
    "algorithm": _Example(
        field="magnitude_weight",
        default=0.001,
        meaning="Weight of the added term, the mean square of s_x.",
        imports=("from collections.abc import Mapping", "from tensordict import TensorDictBase", "from torch import Tensor"),
        method='''
    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """The terms of `{kind}` and one more for ``minibatch`` [B]; figures to log."""
        terms, figures = super().losses(minibatch)
        magnitude = Term(self.{field}, minibatch["s_x"].square().mean())
        return {{**terms, "magnitude": magnitude}}, figures
''',
    ),
}


def subclass(base: Component, name: str, cls: str, folder: Path) -> tuple[str, str]:
    """The texts of a subclass of ``base`` and of its test.

    Args:
        base: The component to start from.
        name: The new kind.
        cls: The name of its class.
        folder: Where the two files will lie: the test loads a base that is a plug-in by its path from there.

    Raises:
        UserError: ``base`` has required fields for which no value is known.
    """
    slot, kind, fields = base.slot, base.kind, base.fields.model_fields
    added, default, meaning, imports, method = _EXAMPLES.get(slot, _FIELD)
    added = added if added not in fields else f"{added}_of_mine"
    given = ", ".join([f'"{slot}"', cls, *(f'{field}="{value}"' for field, value in required(base).items()), f"{added}=0.5"])
    term = "Term, " if "Term(" in method else ""
    parent = base.cls.__name__
    wanted = [f"from jepakit import {term}register", *imports]
    # A plug-in's file has no module to import from: its class is taken from the table, in which the recipe puts it first.
    wanted.append("from jepakit.registry import component" if base.is_from_file else f"from {base.cls.__module__} import {parent}")
    lookup = f'\n{parent} = component("{slot}", "{kind}").cls\n' if base.is_from_file else ""
    takes = bool(constructors(base.cls))  # a class without a constructor has no fields to pass on
    passed_on = f"        super().__init__(**rest)  # context and the fields of `{kind}`\n" if takes else ""
    if not takes and issubclass(base.cls, nn.Module):
        passed_on = "        super().__init__()\n"
    component = f'''"""A variant of the {slot} `{kind}`."""

from __future__ import annotations

{_sorted([*(["from typing import Any"] if takes else []), *wanted])}{lookup}

@register("{slot}", "{name}")
class {cls}({parent}):
    """One line: how it differs from `{kind}`.

    Source: a choice. (If there is a paper, give authors, year, title and equation.)

    Args:
        {added}: {meaning}
    """

    def __init__(self, *, {added}: float = {default}{", **rest: Any" if takes else ""}) -> None:
{passed_on}        self.{added} = {added}
{method.format(field=added, kind=kind)}'''
    first = ""
    if base.is_from_file:
        first = f'load_file(Path(__file__).parent / "{Path(os.path.relpath(base.file, folder)).as_posix()}")  # the base\n'
    test = f'''"""Tests of the {slot} `{name}`."""

from pathlib import Path

from jepakit.registry import component
from jepakit.testing import check_component, load_file

{first}{cls} = load_file(Path(__file__).with_name("{name}.py")).{cls}


def test_{name}_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component({given})


def test_{name}_takes_every_field_of_its_base() -> None:
    """The rules do not cover this. Replace this test with one for your {slot}'s behaviour."""
    mine, base = component("{slot}", "{name}").fields, component("{slot}", "{kind}").fields
    assert set(mine.model_fields) == {{*base.model_fields, "{added}"}}
'''
    return component, test


def _sorted(imports: list[str]) -> str:
    """The import lines in the order that ruff's rule I asks for where jepakit is installed: the standard library's, then all others."""
    standard = [line for line in imports if line.startswith(("from typing", "from collections"))]
    others = [line for line in imports if line not in standard]
    return "\n".join([*sorted(standard), *([""] if standard else []), *sorted(others)]) + "\n"

"""``jepakit new``: write a component to start from, and its test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

#: By slot, the recipe line that uses a component.
LINES = {
    "env": "env: {{kind: {}}}",
    "encoder": "encoder: {{kind: {}}}",
    "target": "jepa: {{target: {{kind: {}}}}}",
    "predictor": "jepa: {{predictor: {{kind: {}}}}}",
    "objective": "jepa: {{objective: {{kind: {}}}}}",
    "projector": "jepa: {{projector: {{kind: {}}}}}",
    "regularizer": "regularizers: [{{kind: {}}}]",
    "auxiliary": "auxiliary: [{{kind: {}}}]",
    "augmentation": "augmentations: [{{kind: {}}}]",
    "algorithm": "algorithm: {{kind: {}}}",
}


def command(
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="Such as encoder.", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its kind in recipes, and its file name.", show_default=False)],
    base: Annotated[
        str | None,
        typer.Option("--from", metavar="KIND", help="Start from this kind: write a subclass with one more field.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write to; created if missing.")] = Path(),
) -> None:
    """Write a component and its test. Both work as they are, for you to change."""
    from jepakit.cli.output import emit
    from jepakit.errors import UserError

    component, test = out / f"{name}.py", out / f"test_{name}.py"
    _check(slot, name)
    cls = "".join(word.capitalize() for word in name.split("_"))
    texts = dict(zip((component, test), _subclass(slot, name, cls, base) if base else _template(slot, name, cls), strict=True))
    if there := [str(path) for path in (component, test) if path.exists()]:
        raise UserError(
            f"{' and '.join(there)} already exist{'s' * (len(there) == 1)}; choose another name, or another folder with --out DIR"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"can't write {error.filename or out}: {error.strerror}") from error
    emit(
        f"wrote {component} and {test}",
        f"to check it:  pytest {test}",
        f"to use it, in a recipe in {out if out != Path() else 'this folder'}:",
        "    extends: cartpole_pixels",
        f"    plugins: [./{name}.py]",
        f"    {LINES[slot].format(name)}",
    )


def _template(slot: str, name: str, cls: str) -> tuple[str, str]:
    """The slot's template and its test, renamed to ``name`` and ``cls``."""
    from jepakit.testing import templates

    folder = Path(templates.__file__).parent
    component, test = ((folder / file).read_text("utf-8") for file in (f"{slot}.py", f"tests/test_{slot}.py"))
    _refuse_hiding(cls, name, component, test)
    names = ((f"jepakit.testing.templates.{slot}", name), ("my_component", name), ("MyComponent", cls))
    for old, new in names:
        component, test = component.replace(old, new), test.replace(old, new)
    return component, test


def _subclass(slot: str, name: str, cls: str, kind: str) -> tuple[str, str]:
    """A subclass of ``kind`` that adds a field, and its test."""
    from jepakit import registry
    from jepakit.errors import UserError, listing

    base = registry.component(slot, kind)
    fields = base.fields.model_fields
    examples = {"id": 'id="CartPole-v1"'}
    required = [field for field, info in fields.items() if info.is_required()]
    if unknown := [field for field in required if field not in examples]:
        raise UserError(f"`{kind}` needs a value for {listing(unknown)}: write its subclass by hand (docs/components.md)")
    added = "strength" if "strength" not in fields else "strength_of_mine"
    given = ", ".join([f'"{slot}"', cls, *(examples[field] for field in required), f"{added}=0.5"])
    component = f'''"""A variant of the {slot} `{kind}`."""

from __future__ import annotations

from typing import Any

from {base.cls.__module__} import {base.cls.__name__}
from jepakit import register


@register("{slot}", "{name}")
class {cls}({base.cls.__name__}):
    """One line: how it differs from `{kind}`.

    Source: a choice. (If there is a paper, give authors, year, title and equation.)

    Args:
        {added}: What the field does, and its unit.
    """

    def __init__(self, *, {added}: float = 1.0, **rest: Any) -> None:
        super().__init__(**rest)  # context and the fields of `{kind}`
        self.{added} = {added}
'''
    test = f'''"""Tests of the {slot} `{name}`."""

from {name} import {cls}
from jepakit.registry import component
from jepakit.testing import check_component


def test_it_keeps_all_rules_of_its_slot() -> None:
    """A failure names the broken rule and what to change."""
    check_component({given})


def test_it_takes_every_field_of_its_base() -> None:
    """Replace this by a test of what your {slot} is for."""
    mine, base = component("{slot}", "{name}").fields, component("{slot}", "{kind}").fields
    assert set(mine.model_fields) == {{*base.model_fields, "{added}"}}
'''
    _refuse_hiding(cls, name, base.cls.__name__)
    return component, test


def _refuse_hiding(cls: str, name: str, *texts: str) -> None:
    from jepakit.errors import UserError

    if any(re.search(rf"\b{cls}\b", text) for text in texts):
        raise UserError(f"`{name}` would name its class `{cls}`, which the file already uses; try `my_{name}`")


def _check(slot: str, name: str) -> None:
    import importlib.util
    import keyword

    from jepakit import registry
    from jepakit.errors import UserError

    kinds = [known.kind for known in registry.components(slot)]  # refuses an unknown slot
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        simple = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name), flags=re.ASCII).strip("_0123456789").lower()
        raise UserError(
            f"`{name}` can't be a kind: write lower-case letters, digits and underscores, a letter first"
            + (f"; did you mean `{simple}`?" if simple else "")
        )
    if name in kinds:
        raise UserError(f"the {slot} `{name}` already exists; choose another name, such as `my_{name}`")
    if keyword.iskeyword(name) or importlib.util.find_spec(name):
        raise UserError(f"{name}.py would hide the Python keyword or module `{name}`; try `my_{name}`")

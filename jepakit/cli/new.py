"""``jepakit new``: write a component to start from, and its test."""

from __future__ import annotations

import os
import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepakit.cli.options import PluginsOption

if TYPE_CHECKING:
    from jepakit.registry import Component

EXTENDED = "cartpole_pixels"  #: the recipe that a new component is tried in
#: By slot, the path of its component in a recipe, and whether a list of them stands there; empty: in no recipe.
PATHS = {
    "env": ("env", False),
    "source": ("source", False),
    "distraction": ("distractions", True),
    "encoder": ("encoder", False),
    "target": ("jepa.target", False),
    "predictor": ("jepa.predictor", False),
    "objective": ("jepa.objective", False),
    "projector": ("jepa.projector", False),
    "regularizer": ("regularizers", True),
    "auxiliary": ("auxiliary", True),
    "augmentation": ("augmentations", True),
    "algorithm": ("algorithm", False),
    "collector": ("collector", False),
    "curiosity": ("curiosity", False),
    "diagnostic": ("diagnostics", True),
    "planner": ("planner", False),
    "sink": ("sinks", True),
    "engine": ("", False),
}


def command(
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="Such as encoder.", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its kind in recipes, and its file name.", show_default=False)],
    base: Annotated[
        str | None,
        typer.Option("--from", metavar="KIND", help="Start from this kind: write a subclass with one more field.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write to; created if missing.")] = Path(),
    plugins: PluginsOption = None,
) -> None:
    """Write a component and its test. Both work as they are, for you to change."""
    from jepakit import registry
    from jepakit.cli.output import emit
    from jepakit.cli.plugins import load_needed
    from jepakit.errors import UserError
    from jepakit.testing.subclass import required

    load_needed(plugins)
    component, test = out / f"{name}.py", out / f"test_{name}.py"
    _check(slot, name)
    cls = "".join(word.capitalize() for word in name.split("_"))
    parent = registry.component(slot, base) if base else None
    given = required(parent) if parent else {}
    texts = dict(zip((component, test), _texts(slot, name, cls, parent, out), strict=True))
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
    files = [_from(file, out) for file in plugins or ()] + [f"./{name}.py"]
    loaded = "".join(f" --plugins {quote(file)}" for file in (*(plugins or ()), str(component)))
    emit(
        f"wrote {component} and {test}",
        f"to check it:  pytest {test}",
        f"or:           jepakit check {slot} {name}{loaded}" + "".join(f" --set {field}={value}" for field, value in given.items()),
        f"to use it, in a recipe in {out if out != Path() else 'this folder'}:",
        f"    extends: {EXTENDED}",
        f"    plugins: [{', '.join(files)}]",
        *(f"    {line}" for line in (_recipe_lines(slot, name, parent, given) if PATHS[slot][0] else ())),
        *(() if PATHS[slot][0] else (f"and then:     jepakit ablate RECIPE --{slot} {name}",)),
    )


def _from(plugin: str, folder: Path) -> str:
    """A plug-in as a recipe in ``folder`` names it."""
    from jepakit.registry.plugins import is_file

    if not is_file(plugin):
        return plugin
    path = Path(os.path.relpath(plugin, folder)).as_posix()
    return path if path.startswith("../") else f"./{path}"


def _recipe_lines(slot: str, name: str, parent: Component | None, given: dict[str, str]) -> list[str]:
    """The lines that put the component into a recipe, with all that the extended recipe writes for its base: a changed kind drops it."""
    from jepakit.recipe.dump import flow
    from jepakit.recipe.load import draft_recipe

    path, is_list = PATHS[slot]
    steps = path.split(".")
    there = draft_recipe(EXTENDED, run_plugins=False).tree.find(steps)
    written = there.plain() if there else None
    fields = {"kind": name, **given}
    if isinstance(written, dict) and parent and written.get("kind") == parent.kind:
        fields |= {field: value for field, value in written.items() if field != "kind"}
    needed = ["algorithm: {kind: none}"] if slot == "source" else []  # no other learns from recorded data
    encoders = {"gym_state": "{kind: mlp}", "minigrid": "{kind: nature_cnn}"}  # the main recipe's takes three large frames
    needed += [f"encoder: {encoders[parent.kind]}"] if parent and parent.kind in encoders else []
    nested: Any = fields
    if len(fields) == 1:
        for step in reversed(steps):
            nested = {step: [nested] if is_list else nested}
        return [flow(nested)[1:-1], *needed]
    blocks = [f"{'  ' * depth}{step}:" for depth, step in enumerate(steps)]
    return [*blocks, *(f"{'  ' * len(steps)}{field}: {flow(value)}" for field, value in fields.items()), *needed]


def _texts(slot: str, name: str, cls: str, parent: Component | None, out: Path) -> tuple[str, str]:
    """The component and its test: from the slot's template, or a subclass of ``parent``."""
    from jepakit.testing.subclass import subclass

    if parent is None:
        return _template(slot, name, cls)
    _refuse_hiding(cls, name, parent.cls.__name__)
    return subclass(parent, name, cls, out)


def _template(slot: str, name: str, cls: str) -> tuple[str, str]:
    """The slot's template and its test, renamed to ``name`` and ``cls``."""
    from jepakit.testing import templates

    folder = Path(templates.__file__).parent
    component, test = ((folder / file).read_text("utf-8") for file in (f"{slot}.py", f"tests/test_{slot}.py"))
    _refuse_hiding(cls, name, component, test)
    beside = f'Path(__file__).with_name("{name}.py")'
    names = ((f'Path(__file__).parents[1] / "{slot}.py"', beside), ("my_component", name), ("MyComponent", cls))
    for old, new in names:
        component, test = component.replace(old, new), test.replace(old, new)
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

"""``jepakit new``: the beginning of a component of one's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

#: The line of a recipe that uses a component, by its slot.
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
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its kind in recipes, and the file's name.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write it; made where it is missing.")] = Path(),
) -> None:
    """Write a component and its test, ready to run, to be changed into yours."""
    from jepakit.cli.output import emit
    from jepakit.errors import UserError
    from jepakit.testing import templates

    component, test = out / f"{name}.py", out / f"test_{name}.py"
    _check(slot, name)
    folder = Path(templates.__file__).parent
    texts = {
        path: (folder / template).read_text("utf-8") for path, template in ((component, f"{slot}.py"), (test, f"tests/test_{slot}.py"))
    }
    cls = "".join(word.capitalize() for word in name.split("_"))
    if any(re.search(rf"\b{cls}\b", text) for text in texts.values()):
        raise UserError(f"its class `{cls}` would hide another that the file uses; try `my_{name}`")
    if there := [str(path) for path in (component, test) if path.exists()]:
        raise UserError(f"{' and '.join(there)} would be overwritten; choose another name, or another folder with --out DIR")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            named = text.replace(f"jepakit.testing.templates.{slot}", name).replace("my_component", name).replace("MyComponent", cls)
            path.write_text(named, "utf-8")
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


def _check(slot: str, name: str) -> None:
    import importlib.util
    import keyword

    from jepakit import registry
    from jepakit.errors import UserError

    kinds = [known.kind for known in registry.components(slot)]  # refuses an unknown slot
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        simple = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name), flags=re.ASCII).strip("_0123456789").lower()
        raise UserError(
            f"`{name}` can't be a kind: lower-case letters, digits and underscores only, a letter first"
            + (f"; did you mean `{simple}`?" if simple else "")
        )
    if name in kinds:
        raise UserError(f"the {slot} `{name}` is there already; choose another name, such as `my_{name}`")
    if keyword.iskeyword(name) or importlib.util.find_spec(name):
        raise UserError(f"`{name}` is a name of Python's or of an installed module, which {name}.py would hide; try `my_{name}`")

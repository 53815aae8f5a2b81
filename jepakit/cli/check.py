"""``jepakit check``: test a component against the rules of its slot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli import completion
from jepakit.cli.options import PluginsOption, PluginsRecipeOption


def command(
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="Such as encoder.", show_default=False, autocompletion=completion.slots)],
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Such as vit.", show_default=False, autocompletion=completion.kinds)],
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Set a field of the component: --set dim=16. The value is YAML. May be repeated."
        ),
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option(
            "--frames", metavar="K,C,H,W", help="Try this frame shape, not the default ones. May be repeated.", show_default=False
        ),
    ] = None,
    plugins: PluginsOption = None,
    recipe: PluginsRecipeOption = None,
) -> None:
    """Test a component against all rules of its slot, as `jepakit.testing.check_component` does. Exit code 1: it breaks one or more."""
    from jepakit.cli.output import emit
    from jepakit.cli.plugins import load_needed
    from jepakit.testing import NonConformant, check_component
    from jepakit.testing.settings import FRAME_SHAPES

    load_needed(plugins, recipe)
    shapes = [_shape(text) for text in frames] if frames else FRAME_SHAPES
    try:
        check_component(slot, kind, frame_shapes=shapes, **dict(_field(text) for text in fields or ()))
    except NonConformant as error:
        emit(str(error))
        raise typer.Exit(1) from None
    emit(f"{slot} `{kind}` keeps all rules of its slot")


def _field(text: str) -> tuple[str, object]:
    from jepakit.errors import UserError
    from jepakit.recipe.errors import Problem, RecipeError, Source
    from jepakit.recipe.yaml12 import read_yaml

    name, equals, _ = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: write FIELD=VALUE, such as --set dim=16")
    problems: list[Problem] = []
    node = read_yaml(Source("--set", text, Path(), is_file=False), problems, start=len(name) + 1)
    if problems:
        raise RecipeError(problems)
    return name, node.plain() if node else None


def _shape(text: str) -> list[int]:
    from jepakit.errors import UserError

    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.strip().isdecimal() and int(number) > 0 for number in numbers):
        raise UserError(f"--frames {text}: write four whole numbers K,C,H,W, such as --frames 3,1,40,60")
    return [int(number) for number in numbers]

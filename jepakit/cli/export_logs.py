"""``jepakit export-logs``: show an old run in another tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepakit.cli.options import PluginsOption, RunArg

if TYPE_CHECKING:
    from jepakit.registry.signature import ComponentFields


def command(
    run: RunArg,
    to: Annotated[
        list[str],
        typer.Option(
            "--to", metavar="SINK", help="A kind of sink, or its fields as YAML: --to '{kind: wandb, project: mine}'. May be repeated."
        ),
    ],
    media: Annotated[
        list[Path] | None,
        typer.Option("--media", metavar="FILE", help="Show this picture or video with the run. May be repeated.", show_default=False),
    ] = None,
    plugins: PluginsOption = None,
) -> None:
    """Write a run's metrics to sinks, as the recipe's `sinks` do during a run. What a sink holds already is not written again."""
    from jepakit.cli.output import emit
    from jepakit.cli.plugins import load_needed
    from jepakit.storage.mirror import FOLDER, export_logs

    load_needed(plugins)
    configs = [_sink(text, run) for text in to]
    export_logs(run, configs, media or ())
    emit(*(f"{run}: written to {config.kind}; {run / FOLDER / f'{config.kind}.json'} says how far" for config in configs))


def _sink(text: str, run: Path) -> ComponentFields:
    """The fields that ``text`` writes; a kind alone means the run's own sink of that kind, else one with its defaults."""
    from pydantic import ValidationError
    from pydantic_core import PydanticCustomError

    from jepakit import registry
    from jepakit.errors import UserError, shown
    from jepakit.recipe.errors import Problem, RecipeError, Source
    from jepakit.recipe.slots import InSlot
    from jepakit.recipe.yaml12 import read_yaml

    problems: list[Problem] = []
    node = read_yaml(Source("--to", text, Path(), is_file=False), problems)
    if problems:
        raise RecipeError(problems)
    written = node.plain() if node else None
    fields = _of_the_run(written, run) if isinstance(written, str) else written
    if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
        raise UserError(f"--to {shown(text)}: write a kind, or fields such as {{kind: wandb, project: mine}}")
    found = registry.component("sink", fields["kind"])
    try:
        return InSlot("sink").validate(fields)
    except ValidationError as error:
        wrong = error.errors()[0]
        known = ", ".join(f"`{name}`" for name in found.fields.model_fields if name != "kind") or "none"
        raise UserError(
            f"--to {shown(text)}: `{shown('.'.join(map(str, wrong['loc'])))}`: {wrong['msg']}; `{found.kind}` has the fields: {known}"
        ) from None
    except PydanticCustomError as error:
        raise UserError(f"--to {shown(text)}: {error.message()}") from None


def _of_the_run(kind: str, run: Path) -> dict[str, Any]:
    from jepakit.recipe.load import draft_recipe

    recipe = run / "recipe.yaml"
    sinks = draft_recipe(recipe, run_plugins=False).tree.plain().get("sinks") if recipe.is_file() else None
    own = [sink for sink in sinks if isinstance(sink, dict) and sink.get("kind") == kind] if isinstance(sinks, list) else []
    return own[0] if own else {"kind": kind}

"""``jepakit export-logs``: show an old run in another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jepakit.cli.options import PluginsOption, RunArg


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
    from jepakit.recipe.load import load_component
    from jepakit.storage.mirror import FOLDER, export_logs

    load_needed(plugins)
    own = _sinks_of(run)
    example = "{kind: wandb, project: mine}"
    configs = [load_component("sink", own.get(text, text), "--to", example) for text in to]  # a kind alone: the run's own sink of that kind
    export_logs(run, configs, media or ())
    emit(*(f"{run}: written to {config.kind}; {run / FOLDER / f'{config.kind}.json'} says how far" for config in configs))


def _sinks_of(run: Path) -> dict[str, dict[str, Any]]:
    """The fields of the sinks in the run's recipe, by kind."""
    from jepakit.recipe.load import draft_recipe

    recipe = run / "recipe.yaml"
    sinks = draft_recipe(recipe, run_plugins=False).tree.plain().get("sinks") if recipe.is_file() else None
    own = [sink for sink in sinks if isinstance(sink, dict)] if isinstance(sinks, list) else []
    return {kind: sink for sink in reversed(own) if isinstance(kind := sink.get("kind"), str)}

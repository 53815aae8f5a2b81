"""``jepakit run``: train what a recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli.options import RecipeArg, SeedOption, SetOption


def command(
    recipe: RecipeArg,
    overrides: SetOption = None,
    seed: SeedOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run's folder; new or empty. Default: runs/<name>/<id>.", show_default=False),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show warnings and the result alone.")] = False,
) -> None:
    """Train what a recipe says, and say how it went."""
    from jepakit.cli.output import emit
    from jepakit.training.run import run

    result = run(recipe, overrides=overrides or (), seed=seed, out=out, quiet=quiet)
    summary = result.summary
    lines = [
        f"{'run' if result.fresh else 'finished before:'} {result.path}",
        f"{summary['status']}: {summary['env_steps']:,} env steps, {summary['episodes']:,} episodes, {summary['updates']:,} updates "
        f"in {summary['wall_s']:,.0f} s ({summary['steps_per_second']:,.0f} steps/s)",
        f"return: {_figure(summary['return_last_100'])} (last 100 episodes), {_figure(summary['return_last_20'])} (last 20)",
        f"embedding: variance {_figure(summary['embedding_variance'])}, rank {_figure(summary['embedding_rank'])}",
    ]
    if summary["collapsed"]:
        lines.append(f"warning: the embedding is collapsed (first seen at {summary['collapsed_at']:,} env steps)")
    if not result.fresh:
        lines.append("nothing was trained now; to train it anew, name a folder with --out DIR")
    emit("\n".join(lines))
    if summary["status"] == "interrupted":
        raise typer.Exit(130)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"

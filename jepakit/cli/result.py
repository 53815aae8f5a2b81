"""How a run went, in words and as an exit code."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

import typer

from jepakit.cli.output import emit

if TYPE_CHECKING:
    from jepakit.training.run import RunResult


def tell(result: RunResult) -> None:
    """Print it.

    Raises:
        typer.Exit: 130, the run was interrupted.
    """
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
    if summary["status"] == "interrupted":
        lines.append(f"go on with: jepakit resume {quote(str(result.path))}")
    emit("\n".join(lines))
    if summary["status"] == "interrupted":
        raise typer.Exit(130)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"

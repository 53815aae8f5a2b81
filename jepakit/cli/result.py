"""A run's result: printed, and as an exit code."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

import typer

from jepakit.cli.output import emit

if TYPE_CHECKING:
    from jepakit.training.run import RunResult


def _shares(seconds: object) -> str:
    """Where the time went, such as ``learner 55%, env 30%, other 15%``; empty for the summary of an earlier jepakit."""
    spent = {str(part): value for part, value in seconds.items() if isinstance(value, (int, float))} if isinstance(seconds, dict) else {}
    whole = sum(spent.values())
    shares = sorted(((value / whole, part) for part, value in spent.items()), reverse=True) if whole > 0 else []
    return ", ".join(f"{part} {share:.0%}" for share, part in shares if share >= 0.005)


def tell(result: RunResult) -> None:
    """Print a run's result.

    Raises:
        typer.Exit: With code 130, if the run was interrupted.
    """
    summary = result.summary

    def figure(name: str, form: str = ".4g") -> str:
        value = summary.get(name)
        return format(value, form) if isinstance(value, (int, float)) else "-"  # an untrusted summary may hold anything

    lines = [
        f"{'run' if result.fresh else 'already finished:'} {result.path}",
        f"{summary['status']}: {figure('env_steps', ',')} env steps, {figure('episodes', ',')} episodes, {figure('updates', ',')} updates "
        f"in {figure('wall_s', ',.0f')} s ({figure('steps_per_second', ',.0f')} steps/s)",
        f"return: {figure('return_last_100')} (last 100 episodes), {figure('return_last_20')} (last 20)"
        if summary.get("episodes")
        else "return: none, since no episode has ended",
        f"embedding: variance {figure('embedding_variance')}, rank {figure('embedding_rank')}",
    ]
    if budget := _shares(summary.get("seconds")):
        lines.append(f"time: {budget}")
    if summary.get("updates_skipped"):
        lines.append(f"warning: {figure('updates_skipped', ',')} updates were skipped: their loss or gradient was not finite")
    if summary.get("collapsed"):
        lines.append(f"warning: the embedding is collapsed (first seen at {figure('collapsed_at', ',')} env steps)")
    if not result.fresh:
        from jepakit.storage.stored import ranks_of, together

        ranks = ranks_of(result.path)
        go_on = f"{together(ranks)}jepakit resume {quote(str(result.path))} --total-steps N"
        lines.append(f"nothing was trained; to go on: {go_on}; to train it anew, name a folder: jepakit run RECIPE --out DIR")
    if summary["status"] == "interrupted":
        from jepakit.storage.stored import resume_command

        lines.append(f"continue with: {resume_command(result.path)}")
    emit("\n".join(lines))
    if summary["status"] == "interrupted":
        raise typer.Exit(130)

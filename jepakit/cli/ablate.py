"""``jepakit ablate``: run every run of a sweep that has not finished yet."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jepakit.cli.importing import importing
from jepakit.cli.options import RecipeArg, RecordedOption, SetOption

if TYPE_CHECKING:
    from rich.table import Table

    from jepakit.sweep.engine import Outcome
    from jepakit.sweep.plan import Plan


def command(
    recipe: RecipeArg,
    over: Annotated[
        list[str] | None,
        typer.Option("--over", metavar="PATH=V1,V2,…", help="Vary a value: --over encoder.dim=32,64. Values are YAML. May be repeated."),
    ] = None,
    overrides: SetOption = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", metavar="N|S1,S2,…", help="How many seeds, counted from the recipe's own, or which seeds.", show_default=False
        ),
    ] = None,
    jobs: Annotated[
        str, typer.Option("--jobs", "-j", metavar="J|auto", help="Runs at a time. auto: one run with one thread per core.")
    ] = "auto",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Runs go to DIR/<name>/<id>.")] = Path("runs"),
    recorded: RecordedOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the runs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only failures and the result.")] = False,
) -> None:
    """Run a recipe's sweep: every configuration with every seed. Skip finished runs and resume unfinished ones."""
    with importing():
        from jepakit.cli.output import emit
        from jepakit.machine.hardware import usable_cores
        from jepakit.sweep.engine import run_plan
        from jepakit.sweep.plan import load_sweep

    records = recorded or []
    given_jobs = None if jobs == "auto" else _positive(jobs, "--jobs")
    plan = load_sweep(recipe, overrides or (), over or (), _seeds(seeds), threads=None if given_jobs else 1)
    at_a_time = given_jobs or plan.jobs()
    busy, cores = at_a_time * max(run.threads for run in plan.runs), usable_cores()
    notes = [*plan.notes]
    if busy > cores and len(plan.runs) > 1:
        notes.append(f"{at_a_time} runs at a time use {busy} threads on {cores} cores, which is slower than --jobs auto")
    for note in notes:
        typer.echo(f"notice: {note}", err=True)
    if dry_run:
        emit(*_dry(plan, out, records, at_a_time))
        return
    outcomes = run_plan(plan, out, at_a_time, records, quiet)
    emit(*_result(plan, outcomes, out, records))
    if any(outcome.state in ("interrupted", "waiting") for outcome in outcomes):
        typer.echo(f"interrupted; to continue: {shlex.join(['jepakit', *sys.argv[1:]])}", err=True)
        raise typer.Exit(130)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _positive(text: str, option: str) -> int:
    from jepakit.errors import UserError

    if not text.isdecimal() or not int(text):
        raise UserError(f"{option} {text}: write a number of at least 1, or `auto`")
    return int(text)


def _seeds(text: str | None) -> int | list[int] | None:
    from jepakit.errors import UserError

    if text is None:
        return None
    try:
        return [int(seed) for seed in text.split(",") if seed.strip()] if "," in text else int(text)
    except ValueError:
        raise UserError(f"--seeds {text}: write how many seeds (5), or which ones (0,3,5)") from None


def _dry(plan: Plan, out: Path, recorded: Sequence[Path], jobs: int) -> list[str | Table]:
    """The table of runs, and what the command would do without ``--dry-run``."""
    from jepakit.cli.output import fitting_table
    from jepakit.sweep.found import find_run

    states = [find_run(run, out / plan.name / run.id, recorded).state for run in plan.runs]
    rows = [(run.label, str(run.seed), run.id, str(run.threads), state) for run, state in zip(plan.runs, states, strict=True)]
    new, half, broken = states.count("new"), states.count("unfinished"), states.count("broken")
    there = len(states) - new - half - broken
    again = f", {broken} to restart" if broken else ""
    return [
        fitting_table(("run", "seed", "id", "threads", "state"), rows, foldable=("run",), less=("threads",))[0],
        f"{len(states)} runs in {out / plan.name}: {there} finished or running, {half} to resume{again}, {new} new; {jobs} at a time",
    ]


def _result(plan: Plan, outcomes: Sequence[Outcome], out: Path, recorded: Sequence[Path]) -> list[str | Table]:
    """Each configuration's result, the failed runs, and the command that compares the runs."""
    from jepakit.cli.output import table
    from jepakit.sweep.table import figure

    rows = []
    for label in dict.fromkeys(run.label for run in plan.runs):
        mine = [outcome for outcome in outcomes if outcome.planned.label == label]
        ended = [outcome.summary for outcome in mine if outcome.summary]
        returns = [float(value) for summary in ended if isinstance(value := summary["return_last_100"], (int, float))]
        collapsed = sum(bool(summary["collapsed"]) for summary in ended)
        mean = figure(sum(returns) / len(returns)) if returns else "-"
        rows.append((label, f"{len(ended)}/{len(mine)}", mean, str(collapsed)))
    lines: list[str | Table] = [table("configuration", "finished", "final return (mean over seeds)", "collapsed", rows=rows)]
    for outcome in outcomes:
        name = f"{outcome.planned.label}, seed {outcome.planned.seed}"
        if outcome.state == "failed":
            lines.append(f"failed: {name}: {outcome.error}" + (f"\n    {outcome.log}" if outcome.log else ""))
        if outcome.state == "elsewhere":
            lines.append(f"running elsewhere: {name}: {outcome.path} (if its process is gone, remove {outcome.path / 'lock'})")
    if any(outcome.summary for outcome in outcomes):
        places = [out / plan.name] if any(outcome.state == "finished" for outcome in outcomes) else []
        places += recorded if any(outcome.state == "recorded" for outcome in outcomes) else []
        lines.append(f"to compare: {shlex.join(['jepakit', 'compare', *map(str, places)])}")
    return lines

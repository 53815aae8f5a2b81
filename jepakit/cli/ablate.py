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
    from rich.console import RenderableType

    from jepakit.protocols import Engine
    from jepakit.sweep.outcome import Outcome
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
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="KIND|YAML",
            help="Where runs are started: local, ray, slurm, or with fields: --engine '{kind: ray, cpus: 2}'.",
            show_default=False,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Run only share I of N: 1/4, 2/4, … have no run in common.", show_default=False),
    ] = None,
    print_commands: Annotated[
        bool,
        typer.Option("--print-commands", help="Run nothing: print a command for each run that is left, for any scheduler."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the runs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only failures and the result.")] = False,
) -> None:
    """Run a recipe's sweep: every configuration with every seed. Skip finished runs and resume unfinished ones."""
    with importing():
        from jepakit.cli.output import emit
        from jepakit.machine.hardware import usable_cores
        from jepakit.sweep.engines import load_engine
        from jepakit.sweep.plan import load_sweep
        from jepakit.sweep.scheduler import run_plan

    records = recorded or []
    given_jobs = None if jobs == "auto" else positive(jobs, "--jobs")
    share = _share(shard)
    plan = load_sweep(recipe, overrides or (), over or (), None if seeds is None else read_seeds(seeds), threads=None if given_jobs else 1)
    count, plan, notes = len(plan.runs), plan.shard(*share), [*plan.notes]
    if not plan.runs:
        typer.echo(f"notice: share {shard} is empty: this sweep has {count} runs", err=True)
        return
    chosen = load_engine(engine)  # now that the recipe's plug-ins are there, which may register it
    if print_commands:
        _print(plan, out, records, chosen, notes, scripted=engine is not None)
        return
    at_a_time = given_jobs or (len(plan.runs) if chosen.remote else plan.jobs())
    busy, cores = at_a_time * max(run.threads for run in plan.runs), usable_cores()
    if busy > cores and len(plan.runs) > 1 and not chosen.remote:
        notes.append(f"{at_a_time} runs at a time use {busy} threads on {cores} cores, which is slower than --jobs auto")
    for note in notes:
        typer.echo(f"notice: {note}", err=True)
    if dry_run:
        emit(*_dry(plan, out, records, at_a_time))
        return
    outcomes = run_plan(plan, out, given_jobs, records, quiet, chosen)
    emit(*_result(plan, outcomes, out, records))
    if any(outcome.state in ("interrupted", "waiting") for outcome in outcomes):
        typer.echo(f"interrupted; to continue: {shlex.join(['jepakit', *sys.argv[1:]])}", err=True)
        raise typer.Exit(130)
    if any(outcome.state in ("failed", "elsewhere") for outcome in outcomes):  # the sweep is not complete
        raise typer.Exit(1)


def positive(text: str, option: str) -> int:
    """The number of an option such as ``--jobs``."""
    from jepakit.errors import UserError

    if not text.isdecimal() or not int(text):
        raise UserError(f"{option} {text}: write a number of at least 1, or `auto`")
    return int(text)


def _share(text: str | None) -> tuple[int, int]:
    """``2/4`` as two numbers; the whole sweep is 1/1."""
    from jepakit.errors import UserError

    number, slash, count = (text or "1/1").partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UserError(f"--shard {text}: write which share of how many, from 1/4 to 4/4")
    return int(number), int(count)


def _print(plan: Plan, out: Path, recorded: Sequence[Path], engine: Engine, notes: Sequence[str], *, scripted: bool) -> None:
    """Print the commands of the runs that are left, or the script in which the engine would submit them; write their recipes."""
    from jepakit.errors import UserError
    from jepakit.protocols import Scripted
    from jepakit.sweep.commands import command_line, jobs_left

    def note(text: str) -> None:
        typer.echo(f"notice: {text}", err=True)

    if scripted and not isinstance(engine, Scripted):
        raise UserError("--print-commands: this engine has no script to show; leave --engine out to print one command a run")
    for text in notes:
        note(text)
    jobs = jobs_left(plan, out, recorded, note)
    if not jobs:
        note(f"nothing to print: no run is left to run (of {len(plan.runs)})")
        return
    if isinstance(engine, Scripted):
        typer.echo(engine.script(jobs))
        return
    for job in jobs:
        typer.echo(command_line(job))


def read_seeds(text: str) -> int | list[int]:
    """``5`` as a number of seeds, ``0,3,5`` as seeds."""
    from jepakit.errors import UserError

    try:
        return [int(seed) for seed in text.split(",") if seed.strip()] if "," in text else int(text)
    except ValueError:
        raise UserError(f"--seeds {text}: write how many seeds (5), or which ones (0,3,5)") from None


def _dry(plan: Plan, out: Path, recorded: Sequence[Path], jobs: int) -> list[RenderableType]:
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


def _result(plan: Plan, outcomes: Sequence[Outcome], out: Path, recorded: Sequence[Path]) -> list[RenderableType]:
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
    lines: list[RenderableType] = [table("configuration", "finished", "final return (mean over seeds)", "collapsed", rows=rows)]
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

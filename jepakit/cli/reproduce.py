"""``jepakit reproduce``: the paper's Figure 3 with a verdict on every claim of its section 3, or another study."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jepakit.cli.options import RecordedOption
from jepakit.errors import UserError

QUICK_STEPS = 3_000


class Which(StrEnum):
    """What is reproduced."""

    figure3 = "figure3"
    two_rooms = "two-rooms"


def command(
    study: Annotated[
        Which, typer.Argument(metavar="STUDY", help="figure3, the paper's; or two-rooms, goal-reaching by planning.")
    ] = Which.figure3,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder for runs, figure, table and verdicts.", show_default=False)],
    quick: Annotated[bool, typer.Option("--quick", help="The same in minutes, with two short runs: too short to judge by.")] = False,
    recovery: Annotated[bool, typer.Option(help="Also train J alone for 300,000 env steps: nearly half of the time.")] = True,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Runs at a time. Default: one per core.", show_default=False)
    ] = None,
    recorded: RecordedOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only failures and the result.")] = False,
) -> None:
    """Run and draw the paper's Figure 3, and judge every claim of section 3; or another study: two-rooms.

    Or, as `two-rooms`: record random play in two rooms, train a JEPA on it without rewards, and plan to held-out goals behind the wall.

    The same command goes on with what was interrupted.
    """
    if study is Which.two_rooms:
        if not recovery or recorded:
            raise UserError("--no-recovery and --recorded belong to figure3: leave them out")
        _two_rooms(out, quick, jobs, quiet)
    else:
        _figure3(out, quick, recovery, jobs, recorded, quiet)


def _two_rooms(out: Path, quick: bool, jobs: int | None, quiet: bool) -> None:
    from jepakit.cli.output import emit, table
    from jepakit.studies.two_rooms.study import judge, record, train

    def told(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    data = record(out, quick, told)
    ended = _finished(train(out, data, quick, jobs, quiet))
    found = judge(out, data, [outcome.path for outcome in ended], quick, told)
    headings, rows = found.table()
    written = found.write(out)
    emit(found.title, "", table(*headings, rows=rows), "", *found.notes(), f"wrote {', '.join(map(str, written))}")


def _figure3(out: Path, quick: bool, recovery: bool, jobs: int | None, recorded: list[Path] | None, quiet: bool) -> None:
    from dataclasses import replace

    from jepakit.cli.output import emit, table
    from jepakit.recipe.shipped import shipped_recipes
    from jepakit.report.reproduction import Reproduction, compare_with
    from jepakit.report.runs import load_runs
    from jepakit.sweep.plan import Plan, load_sweep
    from jepakit.sweep.scheduler import run_plan

    figure, longer = (
        load_sweep(f"paper/{name}", [f"total_steps={steps}"] if quick else (), seeds=2 if quick else None)
        for name, steps in (("figure3", QUICK_STEPS), ("recovery", 2 * QUICK_STEPS))
    )
    recovering = tuple(replace(run, label=f"{run.label}, longer") for run in longer.runs) if recovery else ()
    plan = Plan("runs", recovering + figure.runs)  # longest runs first, so that no core idles at the end
    outcomes = run_plan(plan, out, jobs, recorded or (), quiet)
    ended = _finished(outcomes)
    longer_ids = {run.id for run in recovering}
    runs = load_runs([outcome.path for outcome in ended])
    found = Reproduction.of([run for run in runs if run.id not in longer_ids], [run for run in runs if run.id in longer_ids], quick=quick)
    known = shipped_recipes()["paper/figure3"].with_name("figure3.json")
    against = [] if quick or not known.exists() else compare_with(known, found.rows)
    written = found.write(out, against)
    tables = [block for headings, rows in found.tables() for block in ("", table(*headings, rows=rows))]
    emit(found.title, *tables, "", *found.notes(), *against, f"wrote {', '.join(map(str, written))}")


def _finished(outcomes: Sequence[Any]) -> list[Any]:
    """The outcomes of runs, if all have finished; else say how to go on, and end."""
    ended = [outcome for outcome in outcomes if outcome.state in ("finished", "recorded")]
    if len(ended) < len(outcomes):
        for outcome in outcomes:
            if outcome.state == "failed":
                typer.echo(f"failed: {outcome.planned.label}, seed {outcome.planned.seed}: {outcome.error}", err=True)
        typer.echo(f"{len(ended)} of {len(outcomes)} runs have finished; to continue: {shlex.join(['jepakit', *sys.argv[1:]])}", err=True)
        raise typer.Exit(1 if any(outcome.state == "failed" for outcome in outcomes) else 130)
    return ended

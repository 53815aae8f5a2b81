"""``jepakit reproduce``: the paper's Figure 3, and a verdict on every claim of its section 3."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli.options import RecordedOption

QUICK_STEPS = 3_000


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder for runs, figure, table and verdicts.", show_default=False)],
    quick: Annotated[
        bool, typer.Option("--quick", help="The same in minutes: two seeds, 3,000 env steps. Too short to judge the paper.")
    ] = False,
    recovery: Annotated[bool, typer.Option(help="Also train J alone for 300,000 env steps: nearly half of the time.")] = True,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Runs at a time. Default: one per core.", show_default=False)
    ] = None,
    recorded: RecordedOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only failures and the result.")] = False,
) -> None:
    """Run and draw the paper's Figure 3, and J alone for longer; judge every claim of section 3."""
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
    ended = [outcome for outcome in outcomes if outcome.state in ("finished", "recorded")]
    if len(ended) < len(outcomes):
        for outcome in outcomes:
            if outcome.state == "failed":
                typer.echo(f"failed: {outcome.planned.label}, seed {outcome.planned.seed}: {outcome.error}", err=True)
        typer.echo(f"{len(ended)} of {len(outcomes)} runs have finished; to continue: {shlex.join(['jepakit', *sys.argv[1:]])}", err=True)
        raise typer.Exit(1 if any(outcome.state == "failed" for outcome in outcomes) else 130)

    longer_ids = {run.id for run in recovering}
    runs = load_runs([outcome.path for outcome in ended])
    found = Reproduction.of([run for run in runs if run.id not in longer_ids], [run for run in runs if run.id in longer_ids], quick=quick)
    known = shipped_recipes()["paper/figure3"].with_name("figure3.json")
    against = [] if quick or not known.exists() else compare_with(known, found.rows)
    written = found.write(out, against)
    tables = [block for headings, rows in found.tables() for block in ("", table(*headings, rows=rows))]
    emit(found.title, *tables, "", *found.notes(), *against, f"wrote {', '.join(map(str, written))}")

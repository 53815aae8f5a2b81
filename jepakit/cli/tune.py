"""``jepakit tune``: search a recipe's values."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepakit.cli.importing import importing
from jepakit.cli.options import RecipeArg, SetOption

if TYPE_CHECKING:
    from rich.text import Text

    from jepakit.tuning.result import Tuned

MOST = 4  #: trials that the table shows beside the recipe


def command(
    recipe: RecipeArg,
    space: Annotated[
        Path,
        typer.Option("--space", metavar="FILE", help="What may vary: optimizer.lr: {low: 1e-4, high: 1e-2, log: true}", show_default=False),
    ],
    trials: Annotated[int, typer.Option("--trials", "-n", metavar="N", help="Trials in the end; trial 0 is the recipe as it is.")] = 20,
    overrides: SetOption = None,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N|S1,S2,…", help="Seeds of each trial: how many, or which. A trial is judged by their mean.")
    ] = "1",
    metric: Annotated[
        str,
        typer.Option(
            "--metric", metavar="NAME", help="What is judged: a figure of summary.json, eval/return_greedy or eval/return_sampled."
        ),
    ] = "return_last_100",
    sampler: Annotated[str, typer.Option("--sampler", metavar="KIND", help="How values are chosen: tpe or random.")] = "tpe",
    pruner: Annotated[
        str, typer.Option("--pruner", metavar="KIND", help="How trials are stopped early: asha, hyperband or none.")
    ] = "asha",
    reduction: Annotated[int, typer.Option("--reduction", metavar="N", help="One in N trials goes on where trials are compared.")] = 2,
    first_rung: Annotated[
        int | None,
        typer.Option(
            "--first-rung", metavar="STEPS", help="Env steps of the first comparison. Default: the budget / reduction².", show_default=False
        ),
    ] = None,
    sampler_seed: Annotated[int, typer.Option("--sampler-seed", metavar="N", help="Seed of the sampler.")] = 0,
    jobs: Annotated[
        str, typer.Option("--jobs", "-j", metavar="J|auto", help="Trials at a time; each runs its seeds side by side.")
    ] = "auto",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Runs go to DIR/<name>/<id>.")] = Path("runs"),
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="NAME", help="Name of the study. Default: that of the space's file.", show_default=False),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="KIND|YAML", help="Where runs are started, as for ablate.", show_default=False),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only failures and the result.")] = False,
) -> None:
    """Search a recipe's values for the greatest return. The same command goes on with an unfinished search."""
    with importing():
        from jepakit.cli.ablate import positive, read_seeds
        from jepakit.cli.output import emit
        from jepakit.tuning.tune import tune

    chosen: dict[str, Any] = {"sampler": sampler, "pruner": pruner}  # checked there
    try:
        tuned = tune(
            recipe,
            space,
            trials=trials,
            overrides=overrides or (),
            seeds=read_seeds(seeds),
            metric=metric,
            reduction=reduction,
            first_rung=first_rung,
            sampler_seed=sampler_seed,
            jobs="auto" if jobs == "auto" else positive(jobs, "--jobs"),
            out=out,
            study=study,
            quiet=quiet,
            engine=engine,
            **chosen,
        )
    except KeyboardInterrupt as stopped:
        typer.echo(f"interrupted: {stopped}\nto continue: {shlex.join(['jepakit', *sys.argv[1:]])}", err=True)
        raise typer.Exit(130) from None
    emit(*_result(tuned, [recipe, *(word for text in overrides or () for word in ("--set", text))]))
    if not tuned.best or (len(tuned.trials) > 1 and not _compared(tuned)):
        raise typer.Exit(1)


def _compared(tuned: Tuned) -> bool:
    """Whether there is a trial beside the recipe itself that has not failed."""
    return any(trial.number and trial.state in ("finished", "pruned") for trial in tuned.trials)


def _result(tuned: Tuned, recipe: list[str]) -> list[str | Text]:
    """The best trials beside the recipe, and what to do next.

    Args:
        tuned: The study.
        recipe: The recipe and its overrides, as they were given.
    """
    from jepakit.cli.output import counted, fitting_table
    from jepakit.sweep.table import figure

    best, default = tuned.best, tuned.default
    if not best:
        return [f"no trial has finished: {tuned.path / 'tune.json'} says why"]
    shown = [trial for trial in tuned.ranking if trial.number > 0][:MOST]
    paths = list(dict.fromkeys(path for trial in shown for path in trial.settings))
    rows = [[tuned.rules.metric, figure(default.value) if default else "-", *(figure(trial.value) for trial in shown)]]
    rows += [[path, _told(tuned.recipe.get(path)), *(_told(trial.settings.get(path)) for trial in shown)] for path in paths]
    headings = ["", "recipe", *(f"trial {trial.number}" for trial in shown)]
    states = [trial.state for trial in tuned.trials]
    ended = ", ".join(f"{states.count(state)} {state}" for state in ("finished", "pruned", "failed") if state in states)
    lines: list[str | Text] = [fitting_table(headings, rows, foldable=headings, less=headings[:2:-1])[0]]
    steps = sum(trial.env_steps for trial in tuned.trials)
    lines.append(f"{counted(len(tuned.trials), 'trial')} ({ended}), {steps:,} env steps, in {tuned.path}")
    if not _compared(tuned):
        why = next((f": {trial.why}" for trial in tuned.trials if trial.number and trial.why), "")
        return [*lines, f"no trial but the recipe itself has finished, so nothing was compared{why}"]
    if best.number == 0:
        return [*lines, "no trial was better than the recipe as it is"]
    fresh = ["--seeds", ",".join(str(max(tuned.rules.seeds) + 1000 + at) for at in range(3))]
    lines.append(
        f"trial {best.number} is the best of {len(tuned.ranking)} noisy trials, which flatters it: give it and the recipe fresh seeds"
    )
    for words in ([str(tuned.path / "best.yaml")], recipe):
        lines.append(f"    {shlex.join(['jepakit', 'ablate', *words, *fresh])}")
    return lines


def _told(value: Any) -> str:
    """A value for the table, its numbers with four digits."""
    from jepakit.recipe.dump import flow

    return flow(_rounded(value))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value

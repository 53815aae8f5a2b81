"""Sweeps from Python: ``jepakit ablate`` for scripts and notebooks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jepakit.recipe import AnyRecipe, Overrides
from jepakit.sweep.engine import Outcome, run_plan
from jepakit.sweep.plan import load_sweep


def ablate(
    recipe: AnyRecipe,
    over: Mapping[str, Sequence[Any]] | Sequence[str] = (),
    *,
    overrides: Overrides = (),
    seeds: int | Sequence[int] | None = None,
    jobs: int | Literal["auto"] = "auto",
    out: str | Path = "runs",
    recorded: Sequence[str | Path] = (),
    quiet: bool = False,
) -> list[Outcome]:
    """Run every configuration of a sweep with every seed, each run in a process of its own.

    Finished runs are skipped and unfinished ones resumed. A failed run does not stop the others; its outcome gives the error.

    Args:
        recipe: A recipe, with or without a sweep.
        over: The values to vary, ``{"encoder.dim": [32, 64]}``, or a list of ``path=value1,value2``. Every combination is run.
        overrides: Overrides of the recipe, applied before its sweep.
        seeds: How many seeds, counted from the recipe's own, or which seeds; replaces the sweep's ``seeds``.
        jobs: Runs at a time; ``auto``: one run with one thread per core.
        out: Runs go to ``out/<name>/<id>``.
        recorded: Folders of records; the runs recorded there count as finished.
        quiet: Show only warnings.

    Returns:
        The outcome of each run, in the order of the configurations: ``planned.label``, ``planned.seed``, ``state``, ``path``, ``summary``.

    Raises:
        RecipeError: A run's recipe is wrong; nothing was started.
        UserError: A run's folder holds something else; nothing was started.
        KeyboardInterrupt: Ctrl-C or SIGTERM, once the running runs have saved; the same call goes on with them.
    """
    axes = [f"{path}={json.dumps(list(values))[1:-1]}" for path, values in over.items()] if isinstance(over, Mapping) else over
    plan = load_sweep(recipe, overrides, axes, seeds, threads=1 if jobs == "auto" else None)
    outcomes = run_plan(plan, Path(out), plan.jobs() if jobs == "auto" else jobs, [Path(folder) for folder in recorded], quiet)
    if left := sum(outcome.state in ("interrupted", "waiting") for outcome in outcomes):
        raise KeyboardInterrupt(f"{left} of {len(outcomes)} runs have not finished; the same call goes on with them")
    return outcomes

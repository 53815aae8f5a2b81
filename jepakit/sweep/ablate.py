"""Sweeps from Python: ``jepakit ablate`` for scripts and notebooks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jepakit.recipe import AnyRecipe, Overrides
from jepakit.sweep.engines import AnyEngine, load_engine
from jepakit.sweep.outcome import Outcome
from jepakit.sweep.plan import load_sweep
from jepakit.sweep.scheduler import run_plan


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
    engine: AnyEngine = None,
) -> list[Outcome]:
    """Run every configuration of a sweep with every seed, each run in a process of its own.

    Finished runs are skipped and unfinished ones resumed. A failed run does not stop the others; its outcome gives the error.

    Args:
        recipe: A recipe, with or without a sweep.
        over: The values to vary, ``{"encoder.dim": [32, 64]}``, or a list of ``path=value1,value2``. Every combination is run.
        overrides: Overrides of the recipe, applied before its sweep.
        seeds: How many seeds, counted from the recipe's own, or which seeds; replaces the sweep's ``seeds``.
        jobs: Runs at a time; ``auto``: one run with one thread per core of this machine, or as many as the engine takes.
        out: Runs go to ``out/<name>/<id>``.
        recorded: Folders of records; the runs recorded there count as finished.
        quiet: Show only warnings.
        engine: Where runs are started: the kind of an engine, or a mapping with ``kind`` and fields, ``{"kind": "ray", "cpus": 2}``.

    Returns:
        The outcome of each run, in the order of the configurations: ``planned.label``, ``planned.seed``, ``state``, ``path``, ``summary``.

    Raises:
        RecipeError: A run's recipe is wrong; nothing was started.
        UserError: A run's folder holds something else, or the engine cannot be used; nothing was started.
        KeyboardInterrupt: Ctrl-C or SIGTERM, once the running runs have saved; the same call goes on with them.
    """
    axes = [f"{path}={json.dumps(list(values))[1:-1]}" for path, values in over.items()] if isinstance(over, Mapping) else over
    plan = load_sweep(recipe, overrides, axes, seeds, threads=1 if jobs == "auto" else None)
    records = [Path(folder) for folder in recorded]
    outcomes = run_plan(plan, Path(out), None if jobs == "auto" else jobs, records, quiet, load_engine(engine, "engine"))
    if left := sum(outcome.state in ("interrupted", "waiting") for outcome in outcomes):
        raise KeyboardInterrupt(f"{left} of {len(outcomes)} runs have not finished; the same call goes on with them")
    return outcomes

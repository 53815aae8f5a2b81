"""A sweep from Python: what ``jepakit ablate`` does, for scripts and notebooks."""

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

    What has finished is not run again; what is half done is resumed. A failed run stops no other: its outcome says why.

    Args:
        recipe: A recipe, with a sweep or without.
        over: The values to vary, ``{"encoder.dim": [32, 64]}``, or a list of ``path=value1,value2``; all combinations are run.
        overrides: Laid on the recipe before its sweep.
        seeds: How many seeds, from the recipe's own on, or which; in place of the sweep's own.
        jobs: Runs at a time; ``auto``: one on each core, of one thread each.
        out: Runs go to ``out/<name>/<id>``.
        recorded: Folders of records; a run that has one there counts as finished.
        quiet: Show warnings alone.

    Returns:
        How each run ended, in the order of the configurations: ``planned.label``, ``planned.seed``, ``state``, ``path``, ``summary``.

    Raises:
        RecipeError: A run is wrong; nothing was started.
        UserError: A folder holds something else; nothing was started.
    """
    axes = [f"{path}={json.dumps(list(values))[1:-1]}" for path, values in over.items()] if isinstance(over, Mapping) else over
    plan = load_sweep(recipe, overrides, axes, seeds, threads=1 if jobs == "auto" else None)
    return run_plan(plan, Path(out), plan.jobs() if jobs == "auto" else jobs, [Path(folder) for folder in recorded], quiet)

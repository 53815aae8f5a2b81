"""`jepakit tune` beside a random search of the same trials, and the best of each with fresh seeds: docs/results/tune.md.

    python -m benchmarks.tune --out /tmp/tune

It may be stopped at any time; the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from shutil import copyfile
from statistics import fmean
from typing import Any

import jepakit
from jepakit.tuning.result import Tuned

DOCS = Path(__file__).parents[1] / "docs" / "results"
RECIPE = "cartpole_pixels"
OVERRIDES = {"total_steps": 6_000, "threads": 1}
TRIALS = 20
FIRST_RUNG = 3_000
FRESH = (1001, 1002, 1003)
SAMPLERS = ("tpe", "random")


def main() -> None:
    """Run what has not finished yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; above 1 the trials depend on their order")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page")
    given = parser.parse_args()
    here = given.docs / "tune"
    studies = {
        sampler: jepakit.tune(
            RECIPE,
            DOCS / "tune" / "space.yaml",
            trials=TRIALS,
            overrides=OVERRIDES,
            sampler=sampler,
            first_rung=FIRST_RUNG,
            jobs=given.jobs,
            out=given.out,
            study=sampler,
        )
        for sampler in SAMPLERS
    }
    fresh = {"recipe": again(RECIPE, OVERRIDES, given)}
    fresh |= {sampler: again(tuned.path / "best.yaml", {}, given) for sampler, tuned in studies.items()}
    here.mkdir(parents=True, exist_ok=True)
    for sampler, tuned in studies.items():
        copyfile(tuned.path / "tune.json", here / f"{sampler}.json")
        for name in ("history", "importance"):
            if (tuned.path / f"{name}.png").exists():
                copyfile(tuned.path / f"{name}.png", here / f"{sampler}_{name}.png")
    (here / "fresh.json").write_text(json.dumps({"seeds": FRESH, "return_last_100": fresh}, indent=1) + "\n")
    (given.docs / "tune.md").write_text(page(studies, fresh))


def again(recipe: str | Path, overrides: dict[str, Any], given: argparse.Namespace) -> list[float]:
    """The final returns of a recipe with fresh seeds."""
    outcomes = jepakit.ablate(recipe, overrides=overrides, seeds=FRESH, jobs=given.jobs, out=given.out)
    return [float(str(outcome.summary["return_last_100"])) for outcome in outcomes]


def page(studies: dict[str, Tuned], fresh: dict[str, list[float]]) -> str:
    """The page of results."""
    default = studies["tpe"].default
    assert default is not None
    lines = [
        "# A search beside a random one",
        "",
        "{} is what 20 trials make of a return of {} on seeds that no trial has had; a random search of as many trials makes it {}.".format(
            *(f"{fmean(fresh[name]):.1f}" for name in ("tpe", "recipe", "random"))
        ),
        "",
        f"The main recipe is tuned for 100,000 env steps of pixel Cart Pole. What suits a budget of {OVERRIDES['total_steps']:,}?",
        "`python -m benchmarks.tune` searches [seven of its values](tune/space.yaml) with `jepakit tune`,",
        f"{TRIALS} trials of one seed, once with TPE and once at random. Both stop what is behind at {FIRST_RUNG:,} env steps.",
        f"Then the recipe and both winners get {len(FRESH)} seeds that no trial has had.",
        "",
        "| | recipe (trial 0) | TPE | random |",
        "|---|---|---|---|",
        row("best return in the search", [default.value or 0.0, *(best_value(studies[sampler]) for sampler in SAMPLERS)]),
        row("with fresh seeds, mean", [fmean(values) for values in fresh.values()]),
        "| with fresh seeds, each | " + " | ".join(", ".join(f"{value:.1f}" for value in values) for values in fresh.values()) + " |",
        f"| env steps of the search | {default.env_steps:,} | " + " | ".join(steps(studies[sampler]) for sampler in SAMPLERS) + " |",
        "",
        "Return: mean of the last 100 training episodes. The values found:",
        "",
        "| | recipe | TPE | random |",
        "|---|---|---|---|",
    ]
    for path in studies["tpe"].recipe:
        found = [studies["tpe"].recipe[path], *(settings(studies[sampler]).get(path) for sampler in SAMPLERS)]
        lines.append(f"| `{path}` | " + " | ".join(f"`{short(value)}`" for value in found) + " |")
    lines += ["", "The best of a search flatters itself: it was chosen for its luck, too. " + verdict(studies, fresh), ""]
    lines += [
        f"![Every trial of the search by {name}](tune/{sampler}_history.png)\n"
        for sampler, name in (("tpe", "TPE"), ("random", "random draws"))
    ]
    if studies["tpe"].importance:
        lines += ["![Which values mattered in the search by TPE](tune/tpe_importance.png)", ""]
    lines += ["Every trial: [tune/tpe.json](tune/tpe.json), [tune/random.json](tune/random.json);"]
    lines += ["the fresh seeds: [tune/fresh.json](tune/fresh.json)."]
    return "\n".join(lines) + "\n"


def verdict(studies: dict[str, Tuned], fresh: dict[str, list[float]]) -> str:
    """What fell, from the search to the fresh seeds."""
    told = [
        f"{name} goes from {best_value(studies[sampler]):.1f} to {fmean(fresh[sampler]):.1f}"
        for sampler, name in (("tpe", "TPE's"), ("random", "the random one's"))
    ]
    beside = f"beside {fmean(fresh['recipe']):.1f} of the recipe itself"
    return f"With fresh seeds {' and '.join(told)}, {beside}. {len(FRESH)} seeds each decide no close contest."


def best_value(tuned: Tuned) -> float:
    """The value of the best trial."""
    assert tuned.best is not None
    return tuned.best.value or 0.0


def settings(tuned: Tuned) -> dict[str, Any]:
    """The values of the best trial, by path."""
    assert tuned.best is not None
    return dict(tuned.best.settings) or dict(tuned.recipe)


def steps(tuned: Tuned) -> str:
    """The env steps of all trials."""
    return f"{sum(trial.env_steps for trial in tuned.trials):,}"


def row(name: str, values: list[float]) -> str:
    """A row of the table."""
    return f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |"


def short(value: Any) -> str:
    """A value with four digits."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {short(entry)}" for key, entry in value.items()) + "}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()

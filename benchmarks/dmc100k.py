"""Renews the tables of `docs/results/dmc100k.md` from the recorded runs.

    jepakit record runs/dmc100k --to docs/results/dmc100k/runs
    python -m benchmarks.dmc100k

A task's runs are those of `studies/dmc100k` with its `env.domain` and `env.task`, each evaluated by `jepakit eval RUN --episodes 10`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.tables import filled, table
from jepakit.report import comparison
from jepakit.report.statistics import estimate, mean_difference
from jepakit.report.tables import estimated

RESULTS = Path(__file__).parents[1] / "docs" / "results"
MOTION, WITH, MOTION_ALONE, WITHOUT = "with JEPA and motion", "with JEPA", "without JEPA, with motion", "without JEPA"
CASES = (MOTION, WITH, MOTION_ALONE, WITHOUT)

#: Mean and standard deviation over seeds at 100,000 simulator steps. CURL: Laskin et al. 2020; DrQ: Kostrikov et al. 2021; PlayVirtual: Yu
#: et al. 2021; MLR: Yu et al. 2022.
PUBLISHED = {
    "cartpole-swingup": {"CURL": (582, 146), "DrQ": (759, 92), "PlayVirtual": (816, 36), "MLR": (806, 48)},
    "reacher-easy": {"CURL": (538, 233), "DrQ": (601, 213), "PlayVirtual": (785, 142), "MLR": (866, 103)},
    "cheetah-run": {"CURL": (299, 48), "DrQ": (344, 67), "PlayVirtual": (474, 50), "MLR": (482, 38)},
    "walker-walk": {"CURL": (403, 24), "DrQ": (612, 164), "PlayVirtual": (460, 173), "MLR": (643, 114)},
    "finger-spin": {"CURL": (767, 56), "DrQ": (901, 104), "PlayVirtual": (915, 49), "MLR": (907, 58)},
    "ball_in_cup-catch": {"CURL": (769, 43), "DrQ": (913, 53), "PlayVirtual": (929, 31), "MLR": (933, 16)},
}

Run = dict[str, Any]


def recorded(folder: Path) -> list[Run]:
    """The runs recorded in ``folder``, by task, configuration and seed."""
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.json")]
    tasks = [*PUBLISHED]
    return sorted(runs, key=lambda run: (tasks.index(task_of(run)), CASES.index(case_of(run)), run["seed"]))


def task_of(run: Run) -> str:
    """Such as ``cartpole-swingup``."""
    return comparison.task_of(run["recipe"]["env"])


def case_of(run: Run) -> str:
    """The run's case in ``studies/dmc100k``, told from its settings: a run that was started by hand has no name of a case."""
    recipe = run["recipe"]
    with_jepa = (MOTION, WITH) if recipe["jepa"] else (MOTION_ALONE, WITHOUT)
    return with_jepa[0 if recipe["encoder"].get("motion") else 1]


def cases_of(runs: Iterable[Run]) -> list[str]:
    """The cases that were run on any task."""
    return sorted({case_of(run) for run in runs}, key=CASES.index)


def greedy(runs: Iterable[Run], task: str, case: str) -> list[float]:
    """The greedy policy's mean held-out return of each seed."""
    return [run["evaluation"]["greedy"]["mean"] for run in runs if (task_of(run), case_of(run)) == (task, case)]


def runs_table(runs: Sequence[Run]) -> str:
    """A line for each run."""
    headings = ("task", "", "seed", "greedy", "sampled", "last 20 training episodes", "effective rank of s_x", "run")
    rows = []
    for run in runs:
        held_out, summary = run["evaluation"], run["summary"]
        figures = (held_out["greedy"]["mean"], held_out["sampled"]["mean"], summary["return_last_20"])
        link = f"[{run['id']}](dmc100k/runs/{run['id']}.json)"
        rank = f"{summary['embedding_rank']:.1f}"
        rows.append((task_of(run), case_of(run), run["seed"], *(f"{each:.0f}" for each in figures), rank, link))
    return table(headings, rows)


def beside_published(runs: Sequence[Run]) -> str:
    """For each task: ours, by case, and the published figures."""
    others, cases = [*next(iter(PUBLISHED.values()))], cases_of(runs)
    rows = []
    for task in dict.fromkeys(map(task_of, runs)):
        published = [f"{mean} ± {deviation}" for mean, deviation in PUBLISHED[task].values()]
        rows.append((task, *(spread(greedy(runs, task, case)) for case in cases), *published))
    return table(("task", *cases, *others), rows)


def additions(runs: Sequence[Run]) -> str:
    """For each task: what JEPA and frame differences add to the return."""
    pairs = {
        "JEPA adds": (WITH, WITHOUT),
        "motion adds": (MOTION_ALONE, WITHOUT),
        "motion adds to JEPA": (MOTION, WITH),
        "JEPA adds to motion": (MOTION, MOTION_ALONE),
    }
    tasks, cases = dict.fromkeys(map(task_of, runs)), cases_of(runs)
    pairs = {name: pair for name, pair in pairs.items() if {*pair} <= {*cases}}
    rows = [(task, *(added(greedy(runs, task, more), greedy(runs, task, less)) for more, less in pairs.values())) for task in tasks]
    return table(("task", *pairs), rows)


def added(ours: Sequence[float], without: Sequence[float]) -> str:
    """How much higher the mean is, with its 95% bootstrap interval; "–" where runs are missing."""
    return estimated(estimate(ours, without, statistic=mean_difference), ".0f") if ours and without else "–"


def spread(returns: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds, and how many seeds; "–" without a run."""
    if not returns:
        return "–"
    return f"{fmean(returns):.0f}" + (f" ± {stdev(returns):.0f}" if len(returns) > 1 else "") + f" ({len(returns)})"


def tables(runs: Sequence[Run]) -> dict[str, str]:
    """All tables of the page, by name."""
    return {"runs": runs_table(runs), "published": beside_published(runs), "added": additions(runs)}


def main() -> None:
    """Renew the page."""
    page = RESULTS / "dmc100k.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), tables(recorded(RESULTS / "dmc100k" / "runs"))), encoding="utf-8")


if __name__ == "__main__":
    main()

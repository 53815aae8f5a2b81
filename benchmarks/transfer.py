"""Does an encoder that was trained before save env steps on a changed task?

    python -m benchmarks.transfer --out runs/transfer --json docs/results/transfer/transfer.json    # and transfer.svg beside it
    python -m benchmarks.transfer --tasks pole --seeds 100,101 --out runs/transfer      # a part; the same command goes on where it ended
    python -m benchmarks.transfer --tasks pole --further --out runs/transfer            # also frozen, and learning more slowly

Three encoders are made first: pretrained on random play, on random play before a moving film, and the encoder of a run that was trained on
plain Cart Pole. Each begins runs on Cart Pole with another pole, other colours or another gravity, beside runs from scratch. A run is
evaluated every 3,072 env steps on 8 held-out episodes. It has solved the task at the first evaluation whose greedy mean return is at least
475. A run that never gets there counts with all its steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

import jepakit
from jepakit.cli.ablate import read_seeds
from jepakit.machine.hardware import Hardware
from jepakit.report.figures import COLOURS, GREY, LOOK
from jepakit.report.statistics import difference, estimate, mean_difference, plain_mean
from jepakit.storage.provenance import provenance

SOLVED = 475.0
ATTRIBUTES = "jepakit.components.envs.wrappers.attributes:Attributes"
FILM = {"distractions": [{"kind": "video", "strength": 0.25}]}
TASKS: dict[str, dict[str, Any]] = {
    "pole": {"env.wrappers": [{"path": ATTRIBUTES, "length": 1.0}]},
    "colours": {"distractions": [{"kind": "colours", "changes": "never", "strength": 0.15}]},
    "gravity": {"env.wrappers": [{"path": ATTRIBUTES, "gravity": 19.6}]},
}
TITLES = {"pole": "a pole of twice the length", "colours": "other colours", "gravity": "twice the gravity"}
#: `cartpole_fast` as it was when the results were recorded.
RECORDED = {"total_steps": 39_936, "encoder.motion": None, "jepa.s_y_per": "update"}
RECORDED_PPO = {**RECORDED, "algorithm.entropy_weight_end": None}
EVALUATED = {"eval_every": 3_072, "eval_episodes": 8, "threads": 1, "diagnostics": []}
SCRATCH = "from scratch"
ANOTHER = "a run on plain Cart Pole"
FURTHER: dict[str, dict[str, Any]] = {
    "the same, frozen": {"encoder.frozen": True},
    "the same, learning a tenth as fast": {"optimizer.lr_factors": {"encoder": 0.1}},
}


def encoders(out: Path) -> dict[str, Path | None]:
    """Where the encoder of each way to begin is: a run's folder, made if it is not there yet."""
    fast = {"threads": 1, "diagnostics": []}
    pretraining = {
        "regularizers": [{"kind": "vicreg", "weight": 1.0}],
        "algorithm": {"kind": "none", "rollout_steps": 128, "epochs": 1, "minibatch_size": 64},
        "total_steps": 200_000,
    }
    made: dict[str, Path | None] = {SCRATCH: None}
    for name, played in (("random play", {}), ("random play before a film", FILM)):
        recording, folder = out / "data" / name.replace(" ", "_"), out / "encoders" / name.replace(" ", "_")
        if not (recording / "recording.json").exists():
            jepakit.record_episodes("cartpole_fast", recording, 20_000, seed=50, overrides=played)
        if not (folder / "summary.json").exists():
            source = {"source": {"kind": "recording", "folder": str(recording.resolve())}}
            jepakit.run("cartpole_fast", overrides=RECORDED | fast | pretraining | source, seed=50, out=folder, quiet=True)
        made[name] = folder
    folder = out / "encoders" / "a_run"
    if not (folder / "summary.json").exists():
        jepakit.run("cartpole_fast", overrides=RECORDED_PPO | fast, seed=50, out=folder, quiet=True)
    return made | {ANOTHER: folder}


def beginnings(out: Path, further: bool) -> dict[str, dict[str, Any]]:
    """The fields of a recipe for each way to begin; with ``further`` also two ways to go on from another run's encoder."""
    cases: dict[str, dict[str, Any]] = {
        name: {} if folder is None else {"encoder.checkpoint": str(folder.resolve())} for name, folder in encoders(out).items()
    }
    return cases | ({name: cases[ANOTHER] | fields for name, fields in FURTHER.items()} if further else {})


def steps_to_solve(run: Path) -> int | None:
    """Env steps at the first evaluation that reached `SOLVED`; None if none did."""
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["phase"] == "eval" and record["eval/return_greedy"] >= SOLVED:
            return int(record["env_steps"])
    return None


def measured(task: str, cases: dict[str, dict[str, Any]], seeds: Sequence[int], out: Path, jobs: int) -> list[dict[str, Any]]:
    """A row for each run on ``task``; runs that have finished before are read again."""
    changed = {**RECORDED_PPO, **EVALUATED, **TASKS[task], "name": f"transfer_{task}"}
    recipe = {"extends": "cartpole_fast", "sweep": {"cases": cases}}
    outcomes = jepakit.ablate(recipe, overrides=changed, seeds=seeds, jobs=jobs, out=out, quiet=True)
    return [
        {
            "task": task,
            "begun": str(outcome.planned.recipe.case),
            "seed": outcome.planned.seed,
            "steps_to_475": steps_to_solve(outcome.path),
            "env_steps": outcome.summary["env_steps"],
            "return_last_100": outcome.summary["return_last_100"],
            "run": outcome.path.name,
        }
        for outcome in outcomes
        if outcome.state == "finished"
    ]


def counted(row: dict[str, Any]) -> float:
    """Its steps to solve the task; all its steps if it did not."""
    return float(row["steps_to_475"] or row["env_steps"])


def compared(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each task and way to begin: interquartile means of the steps and their difference to those from scratch, with 95% intervals."""
    found = []
    for task, name in dict.fromkeys((row["task"], row["begun"]) for row in rows):
        mine = [row for row in rows if (row["task"], row["begun"]) == (task, name)]
        scratch = [counted(row) for row in rows if (row["task"], row["begun"]) == (task, SCRATCH)]
        steps, against = estimate([*map(counted, mine)]), estimate([*map(counted, mine)], scratch, statistic=difference)
        found.append(
            {
                "task": task,
                "begun": name,
                "runs": len(mine),
                "solved": sum(row["steps_to_475"] is not None for row in mine),
                "steps": steps.value,
                "interval": steps.interval,
                "fewer_than_scratch": 0.0 - against.value,
                "fewer_interval": against.interval and (-against.interval.high, -against.interval.low),
            }
        )
    return found


def pooled(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each way to begin, over all tasks: the mean steps, and how many fewer than from scratch, with 95% intervals within tasks."""
    tasks, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("task", "begun"))

    def table(name: str) -> NDArray[np.float64]:  # [seeds, tasks]
        return np.array([[counted(row) for row in rows if (row["task"], row["begun"]) == (task, name)] for task in tasks]).T

    found = []
    for name in names:
        steps = estimate(table(name), statistic=plain_mean)
        fewer = estimate(table(SCRATCH), table(name), statistic=mean_difference)
        mine = [row for row in rows if row["begun"] == name]
        figures = {"steps": steps.value, "interval": steps.interval, "fewer_than_scratch": fewer.value, "fewer_interval": fewer.interval}
        solved = sum(row["steps_to_475"] is not None for row in mine)
        found.append({"task": "all, mean", "begun": name, "runs": len(mine), "solved": solved, **figures})
    return found


def draw(rows: Sequence[dict[str, Any]], table: Sequence[dict[str, Any]], path: Path) -> None:
    """A panel for each task: every run's steps, hollow where it never solved the task, over their interquartile mean and its interval."""
    tasks, names = (list(dict.fromkeys(row[key] for row in table)) for key in ("task", "begun"))
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(2.0 + 2.3 * len(tasks), 0.6 + 0.5 * len(names)), layout="constrained")
        panels = figure.subplots(1, len(tasks), sharex=True, sharey=True, squeeze=False)[0]
        for panel, task in zip(panels, tasks, strict=True):
            for row in (row for row in table if row["task"] == task):
                place, colour = names.index(row["begun"]), COLOURS[names.index(row["begun"])]
                low, high = row["interval"] or (row["steps"], row["steps"])
                panel.barh(place, high - low, left=low, height=0.62, color=colour, alpha=0.16)
                panel.plot([row["steps"]] * 2, [place - 0.31, place + 0.31], color=colour, linewidth=2)
                runs = [run for run in rows if (run["task"], run["begun"]) == (task, row["begun"])]
                for n, run in enumerate(runs):
                    inside = colour if run["steps_to_475"] else "white"
                    height = place + 0.4 * ((n + 0.5) / len(runs) - 0.5)  # so that equal ones can be told apart
                    panel.plot(counted(run), height, "o", color=colour, markerfacecolor=inside, markersize=4.5)
            panel.set_title(TITLES[task], fontsize=9)
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panels[0].set_yticks(range(len(names)), names)
        panels[0].invert_yaxis()
        panels[0].set_xlim(0, 1.04 * max(map(counted, rows)))
        figure.supxlabel(f"env steps to a greedy return of {SOLVED:g}; hollow: not reached by the end", fontsize=9, color=GREY)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Make the encoders, train on the changed tasks, print a row for each way to begin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"), help="where the runs go")
    parser.add_argument("--tasks", default=",".join(TASKS), help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--seeds", default="100,101,102,103,104")
    parser.add_argument("--further", action="store_true", help=f"also begin with {ANOTHER} in two other ways: {', '.join(FURTHER)}")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    cases = beginnings(options.out, options.further)
    rows: list[dict[str, Any]] = []
    tasks = options.tasks.split(",")
    for task in tasks:
        seeds = read_seeds(options.seeds)
        rows += measured(task, cases, [seeds] if isinstance(seeds, int) else seeds or [0], options.out, options.jobs)
    table, over_all = compared(rows), pooled(rows) if len(tasks) > 1 else []
    sys.stdout.write("| task | begun from | solved | steps to 475 | fewer than from scratch |\n|---|---|---|---|---|\n")
    for row in [*table, *over_all]:
        solved, steps, fewer = f"{row['solved']} of {row['runs']}", spread(row["steps"], row["interval"]), "–"
        if row["begun"] != SCRATCH:
            fewer = spread(row["fewer_than_scratch"], row["fewer_interval"])
        sys.stdout.write(f"| {row['task']} | {row['begun']} | {solved} | {steps} | {fewer} |\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        machine = {name: value for name, value in provenance(Hardware("cpu", "fp32", threads=1)).items() if name != "command"}
        options.json.write_text(
            json.dumps({"machine": machine, "compared": table, "pooled": over_all, "runs": rows}, indent=1, default=str) + "\n"
        )
        draw(rows, table, options.json.with_suffix(".svg"))


def spread(value: float, interval: tuple[float, float] | None) -> str:
    """A figure with its interval."""
    return f"{round(value):,}" + (f" [{round(interval[0]):,}, {round(interval[1]):,}]" if interval else "")


if __name__ == "__main__":
    main()

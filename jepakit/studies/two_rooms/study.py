"""The two-rooms study: what is there is not made anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jepakit.agent.recording.episodes import record_episodes
from jepakit.components.shared.recordings import read_about
from jepakit.recipe import load_recipe
from jepakit.studies.two_rooms.measure import measured
from jepakit.studies.two_rooms.page import Study
from jepakit.sweep.outcome import Outcome
from jepakit.sweep.plan import load_sweep
from jepakit.sweep.scheduler import run_plan

RECIPE = "two_rooms"
STEPS, HOLD, SEEDS, EPISODES = 60_000, 5, 3, 100  #: of the recording; of training; of each evaluation
QUICK = {"steps": 2_000, "seeds": 2, "episodes": 10, "total_steps": 4_096}
RECORDED_AT_ONCE = 20  #: simulators


def record(out: Path, quick: bool, told: Callable[[str], object]) -> Path:
    """The folder of the recording: random play, each action held for some steps."""
    folder = out / ("data_quick" if quick else "data")
    if not (folder / "recording.json").is_file():
        steps = QUICK["steps"] if quick else STEPS
        told(f"recording {steps:,} steps of random play")
        record_episodes(RECIPE, folder, steps, hold=HOLD, overrides={"source": None, "env.num_envs": RECORDED_AT_ONCE})
    return folder


def train(out: Path, data: Path, quick: bool, jobs: int | None, quiet: bool) -> list[Outcome]:
    """One run for each seed, each in a process of its own; finished ones are kept, others go on."""
    changes = {"source.folder": str(data.absolute())} | ({"total_steps": QUICK["total_steps"]} if quick else {})
    plan = load_sweep(RECIPE, changes, seeds=QUICK["seeds"] if quick else SEEDS)
    return run_plan(plan, out / "runs", jobs, (), quiet)


def judge(out: Path, data: Path, runs: Sequence[Path], quick: bool, told: Callable[[str], object]) -> Study:
    """How often the finished ``runs`` reach held-out goals."""
    (out / "reached").mkdir(exist_ok=True)
    episodes, planner = QUICK["episodes"] if quick else EPISODES, load_recipe(RECIPE).planner
    fields = planner.model_dump(mode="json") if planner else {}
    found = [measured(run, fields, episodes, out / "reached" / f"{run.name}.json", told) for run in runs]
    about = read_about(data)
    source = f"{about.steps:,} recorded steps of random play (each action held for {HOLD} steps on average), without rewards"
    env: Any = load_recipe(runs[0] / "recipe.yaml").env
    return Study(quick, found, source, env.goal_distance, env.max_episode_steps)

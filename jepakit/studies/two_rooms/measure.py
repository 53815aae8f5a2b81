"""How often a trained run, and the baselines beside it, reach held-out goals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from tensordict import TensorDictBase

from jepakit.agent.planning.policy import PlanningPolicy, planner_fields
from jepakit.agent.trained import Trained, opened
from jepakit.files.reading import read_text
from jepakit.files.writing import write_atomically
from jepakit.recipe import recipe_id
from jepakit.storage.stored import stored_recipe
from jepakit.studies.two_rooms.baselines import Steered
from jepakit.training.monitoring.evaluation import Acting, play
from jepakit.training.policy import Policy

PLAIN = {"metric": "euclidean"}
NEAREST = {"horizon": 1, "hold": 1, "every": 1, "samples": 256, "iterations": 1}  #: of a planner that looks one step ahead
PATHS = 12  #: episodes whose paths are kept, for the figure


class Traced:
    """A policy, and where its simulators' points were in their first episodes.

    Args:
        policy: Acts.
        env: A ``two_rooms`` env.
    """

    def __init__(self, policy: Any, env: Any) -> None:
        self.policy, self.env, self.learner = policy, env, policy.learner
        self.paths: list[list[list[float]]] = [[] for _ in range(min(PATHS, env.batch_size[0]))]
        self.goals: list[list[float]] = []
        self.layouts: list[list[float]] = []

    def __call__(self, tensordict: TensorDictBase) -> TensorDictBase:
        """As the policy."""
        rooms = [simulator.unwrapped for simulator in self.env.simulators[: len(self.paths)]]
        if not self.goals:
            self.goals, self.layouts = [one.goal.round(2).tolist() for one in rooms], [list(one.layout) for one in rooms]
        for path, one, episode in zip(self.paths, rooms, self.env.episodes, strict=False):
            if episode == 1:
                path.append([round(number, 2) for number in one.place.tolist()])
        acted: TensorDictBase = self.policy(tensordict)
        return acted


def measured(
    run: Path, planner: Mapping[str, Any], episodes: int, kept: Path, told: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Success of the run in folder ``run`` on held-out episodes, by policy. What the file ``kept`` holds is not played again.

    Planning, the same by the plain distance, the same one step ahead, and random actions; and with the true state: straight towards the
    goal, and by the door. All play the same episodes, which differ between runs with different seeds.

    Args:
        run: A finished run of the recipe ``two_rooms``.
        planner: How to plan: fields over those of the run's own recipe.
        episodes: Episodes for each policy, played side by side.
        kept: The file of the figures.
        told: Called with a line about each policy.
    """
    with opened(run, best=False, trust=False, warn=told, overrides={"env.num_envs": episodes}) as trained:
        recipe, env, learner, env_steps = trained
        seed = trained.held_out_seed
        about = {
            "run": recipe_id(stored_recipe(run)),
            "seed": recipe.seed,
            "env_steps": env_steps,
            "episodes": episodes,
            "episode_seed": seed,
        }
        about |= {"planner": planner_fields(run, planner).model_dump(mode="json")}
        found: dict[str, Any] = json.loads(read_text(kept)) if kept.is_file() else {}
        if {name: found.get(name) for name in about} != about:
            found = about | {"policies": {}}
        learner.parts.eval()
        for name, make in _policies(trained, run, planner).items():
            if name in found["policies"]:
                continue
            policy, started = make(), perf_counter()
            with torch.inference_mode():
                played = play(env, policy, "sampled" if name == "random" else "greedy", episodes, seed)
            reached = played["rewarded_at_end"]
            found["policies"][name] = {"reached": sum(reached), "steps": played["lengths"], "seconds": round(perf_counter() - started, 1)}
            if isinstance(policy, Traced):
                found["policies"][name] |= {"layouts": policy.layouts, "goals": policy.goals, "paths": policy.paths}
            write_atomically(kept, json.dumps(found) + "\n")
            told(f"seed {recipe.seed}, {name}: {sum(reached)} of {episodes} goals reached")
    return found


def _policies(trained: Trained, run: Path, planner: Mapping[str, Any]) -> Mapping[str, Callable[[], Acting]]:
    env, learner = trained.env, trained.learner

    def planning(changes: Mapping[str, Any]) -> PlanningPolicy:
        return PlanningPolicy(trained, planner_fields(run, {**planner, **changes}))

    return {
        "planned": lambda: Traced(planning({}), env),
        "plain distance": lambda: planning(PLAIN),
        "one step ahead": lambda: planning(NEAREST),
        "random": lambda: Policy(learner),
        "straight": lambda: Steered(env, learner, by_door=False),
        "by the door": lambda: Steered(env, learner, by_door=True),
    }

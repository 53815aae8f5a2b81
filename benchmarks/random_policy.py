"""Measures the return of uniform random actions in a recipe's env: the baseline that learning must beat.

python benchmarks/random_policy.py cartpole_pixels pendulum_pixels --episodes 200 --json random_policy.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from jepakit.machine.generators import seed_everything
from jepakit.protocols import EPISODE_RETURN
from jepakit.recipe import load_recipe
from jepakit.training.build import build_env
from jepakit.training.monitoring.evaluation import mean_and_interval


def play(recipe: str, episodes: int) -> dict[str, Any]:
    """Mean return and its 95% half-width over ``episodes`` episodes, of which each env plays an equal share."""
    env = build_env(load_recipe(recipe))
    num_envs = env.batch_size[0]
    quota = -(-episodes // num_envs)
    seed_everything(0)
    played: list[list[float]] = [[] for _ in range(num_envs)]
    now = env.reset()
    while min(map(len, played)) < quota:
        step, now = env.step_and_maybe_reset(env.rand_action(now))
        for n in step["next", "done"].flatten().nonzero().flatten().tolist():
            played[n].append(step["next", EPISODE_RETURN][n].item())
    env.close()
    returns = [episode_return for mine in played for episode_return in mine[:quota]]
    return {"recipe": recipe, "episodes": len(returns), **mean_and_interval(returns)}


def main() -> None:
    """Print one line for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = [play(recipe, arguments.episodes) for recipe in arguments.recipes]
    for result in results:
        print(f"{result['recipe']}: {result['mean']:.1f} ± {result['ci95']:.1f} over {result['episodes']} episodes")  # noqa: T201
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

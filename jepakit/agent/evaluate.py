"""Evaluate a trained policy in held-out episodes, greedy and sampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import Any

import torch
from torchrl.envs import EnvBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.agent.trained import opened
from jepakit.machine.generators import seed_everything
from jepakit.protocols import EPISODE_LENGTH, EPISODE_OVER, EPISODE_RETURN, ReferenceScores
from jepakit.recipe.compose import Overrides, override_texts
from jepakit.training.policy import Policy

MODES = {"greedy": ExplorationType.MODE, "sampled": ExplorationType.RANDOM}
SEED_OFFSET = 1_000_003  #: added to the run's seed, so that evaluation repeats no training episode


def evaluate(
    run: Path,
    episodes: int = 100,
    seed: int | None = None,
    *,
    overrides: Overrides = (),
    best: bool = False,
    trust: bool = False,
    warn: Callable[[str], object] = lambda _: None,
    on_episode: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Play ``episodes`` held-out episodes with the newest weights of the run in folder ``run``, greedily and then sampling.

    Every env plays a fixed share of the episodes: keeping the first to end would favour short ones.

    Args:
        run: A run's folder.
        episodes: Number of episodes for each of the two policies.
        seed: Seed of the episodes and the sampling; by default the run's seed + 1,000,003.
        overrides: Changes of where the agent acts: of the recipe's ``env`` and ``distractions``.
        best: Use the checkpoint with the best mean return of the last 100 training episodes, not the newest.
        trust: Whether to run the plug-ins that the run's recipe names.
        warn: Called with a message about each corrupt checkpoint.
        on_episode: Called after each episode.

    Returns:
        ``env_steps`` (of training), ``best`` (the argument), ``seed``, ``episodes``, with ``overrides`` these as a list of
        ``path=value``, and for each policy ``mean``, ``ci95`` (half width,
        normal approximation; None for one episode), ``returns`` and ``lengths``. Where the env's task has reference scores, also
        ``human_normalized``: the mean on the scale on which a random policy has 0 and a human 1.

    Raises:
        UserError: The folder holds no run with an intact checkpoint, its recipe names code and ``trust`` is False, or ``overrides`` change
            something else than where the agent acts.
    """
    with opened(run, best=best, trust=trust, warn=warn, overrides=overrides) as (recipe, env, learner, env_steps):
        env_seed = (recipe.seed + SEED_OFFSET) % 2**32 if seed is None else seed
        learner.algorithm.anneal(min(1.0, env_steps / recipe.total_steps))  # explore as at the end of training
        policy = Policy(learner)
        learner.parts.eval()
        results = {mode: _play(env, policy, mode, episodes, env_seed, on_episode) for mode in MODES}
        reference: ReferenceScores | None = getattr(env, "reference_scores", None)
    if reference:
        for played in results.values():
            played["human_normalized"] = (played["mean"] - reference.random) / (reference.human - reference.random)
    elsewhere = {"overrides": [text for _, text in override_texts(overrides, None)]} if overrides else {}
    return {"env_steps": env_steps, "best": best, "seed": env_seed, "episodes": episodes} | elsewhere | results


@torch.no_grad()
def _play(env: EnvBase, policy: Policy, mode: str, episodes: int, seed: int, on_episode: Callable[[], object]) -> dict[str, Any]:
    num_envs = env.batch_size[0]
    env.set_seed(seed)
    seed_everything(seed)
    quota = [episodes // num_envs + (n < episodes % num_envs) for n in range(num_envs)]
    played: list[list[tuple[float, int]]] = [[] for _ in range(num_envs)]
    with set_exploration_type(MODES[mode]):
        now = env.reset()
        while any(len(mine) < wanted for mine, wanted in zip(played, quota, strict=True)):
            step, now = env.step_and_maybe_reset(policy(now))
            over = step["next"].get(EPISODE_OVER, step["next", "done"])
            for n in over.flatten().nonzero().flatten().tolist():
                end = step["next"][n]
                if len(played[n]) < quota[n]:
                    played[n].append((end[EPISODE_RETURN].item(), end[EPISODE_LENGTH].item()))
                    on_episode()
    ended = [episode for mine in played for episode in mine]
    returns = [episode_return for episode_return, _ in ended]
    return {**mean_and_interval(returns), "returns": returns, "lengths": [length for _, length in ended]}


def mean_and_interval(values: list[float]) -> Mapping[str, float | None]:
    """The mean, and the half width of its 95% confidence interval (normal approximation)."""
    half = NormalDist().inv_cdf(0.975) * stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return {"mean": fmean(values), "ci95": half}

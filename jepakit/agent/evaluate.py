"""Evaluate a trained policy in held-out episodes, greedy and sampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from jepakit.agent.planning.policy import PlanningPolicy, goals_of, planner_fields
from jepakit.agent.trained import opened
from jepakit.protocols import ReferenceScores
from jepakit.recipe.compose import Overrides, override_texts
from jepakit.training.monitoring.evaluation import MODES, play
from jepakit.training.policy import Policy

__all__ = ["MODES", "PLANNED", "evaluate"]

PLANNED = "planned"  #: the name of the policy that plans


def evaluate(
    run: Path,
    episodes: int = 100,
    seed: int | None = None,
    *,
    overrides: Overrides = (),
    planner: str | Mapping[str, Any] | None = None,
    best: bool = False,
    trust: bool = False,
    warn: Callable[[str], object] = lambda _: None,
    on_episode: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Play ``episodes`` held-out episodes with the newest weights of the run in folder ``run``, greedily and then sampling.

    With a ``planner`` the same episodes are then played by planning.

    Args:
        run: A run's folder.
        episodes: Number of episodes for each of the policies.
        seed: Seed of the episodes and the sampling; by default the run's seed + 1,000,003.
        overrides: Changes of where the agent acts: of the recipe's ``env`` and ``distractions``.
        planner: Plans as well, with these fields over those of the recipe's planner: a mapping, or YAML such as ``{kind: cem}``.
        best: Use the best checkpoint, not the newest: by the run's periodic evaluation or, without it, by the mean return of the last 100
            training episodes.
        trust: Whether to run the plug-ins that the run's recipe names.
        warn: Called with a message about each corrupt checkpoint, and about episodes that are not held out.
        on_episode: Called after each episode.

    Returns:
        ``env_steps`` (of training), ``best`` (the argument), ``seed``, ``episodes``, with the run's own seed a false ``held_out``, with
        ``overrides`` these as a list of ``path=value``, and for each policy ``mean``, ``ci95`` (half width, normal approximation; None for
        one episode), ``returns`` and ``lengths``. With a planner also these of ``planned``, and ``planner``, its fields. Where the env's
        task has reference scores, also ``human_normalized``: the mean on the scale on which a random policy has 0 and a human 1. Where the
        env's episodes have goals, also ``success``: the share of episodes that have reached theirs.

    Raises:
        UserError: The folder holds no run with an intact checkpoint, its recipe names code and ``trust`` is False, or ``overrides`` change
            something else than where the agent acts, or the run lacks a part that planning needs.
    """
    with opened(run, best=best, trust=trust, warn=warn, overrides=overrides) as trained:
        recipe, env, learner, env_steps = trained
        env_seed = trained.held_out_seed if seed is None else seed
        held_out = env_seed != recipe.seed
        if not held_out:
            warn(f"seed {env_seed} is the run's own: training began with these episodes, so they are not held out")
        policy = Policy(learner)
        learner.parts.eval()
        planning = (
            None if planner is None else PlanningPolicy(trained, planner_fields(run, planner))
        )  # an error should come before the evaluation
        results = {mode: play(env, policy, mode, episodes, env_seed, on_episode) for mode in MODES}
        if planning:
            results[PLANNED] = play(env, planning, "greedy", episodes, env_seed, on_episode)
        has_goals = goals_of(env) is not None
        reference: ReferenceScores | None = getattr(env, "reference_scores", None)
    if reference:
        for played in results.values():
            played["human_normalized"] = (played["mean"] - reference.random) / (reference.human - reference.random)
    for played in results.values():
        rewarded = played.pop("rewarded_at_end")
        if has_goals:
            played["success"] = fmean(rewarded)  # of such a task only the step that reaches the goal has a reward above zero
    elsewhere = {"overrides": [text for _, text in override_texts(overrides, None)]} if overrides else {}
    planned = {"planner": planning.config.model_dump(mode="json")} if planning else {}
    trained_on = {} if held_out else {"held_out": False}
    return {"env_steps": env_steps, "best": best, "seed": env_seed, "episodes": episodes} | trained_on | elsewhere | planned | results

"""Probe a trained run: what of the simulator's true state its embedding tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jepakit.agent.trained import opened
from jepakit.diagnostics.probes.episodes import Reader
from jepakit.diagnostics.probes.knowledge import FEWEST_EPISODES
from jepakit.errors import UserError
from jepakit.recipe.compose import Overrides, override_texts
from jepakit.training.monitoring.probing import Acting, probed

EPISODES = 60


def probe(
    run: str | Path,
    episodes: int = EPISODES,
    seed: int | None = None,
    *,
    policy: Acting = "sampled",
    state: Reader | None = None,
    overrides: Overrides = (),
    best: bool = False,
    trust: bool = False,
    warn: Callable[[str], object] = lambda _: None,
    on_episode: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Fit probes from the run's s_x to the simulator's true state, and judge them by R² on held-out episodes.

    The policy of the newest weights plays, sampling its actions, or random actions are played. A third of the episodes is held out. The
    linear probe is a ridge regression with a penalty cross-validated over four folds of the other episodes; the other probe is a small MLP,
    which one of the folds stops. The global random number generators keep their state.

    Args:
        run: A run's folder.
        episodes: Number of episodes, at least 3.
        seed: Seed of episodes, actions, split and MLP; by default the run's seed + 1,000,003.
        policy: ``sampled``, the run's own, or ``random``, under which runs of one env and seed see the same episodes.
        state: Takes a simulator, below all wrappers, and returns its state as numbers by name; None: as the env knows it.
        overrides: Changes of where the agent acts: of the recipe's ``env`` and ``distractions``.
        best: Use the best checkpoint (`best_checkpoint`), not the newest.
        trust: Whether to run the plug-ins that the run's recipe names.
        warn: Called with a message about each corrupt checkpoint.
        on_episode: Called after each episode.

    Returns:
        The content of ``probe.json`` (docs/probes.md).

    Raises:
        UserError: The folder holds no run with an intact checkpoint, its recipe names code and ``trust`` is False, ``overrides`` change
            something else than where the agent acts, the env's true state is not known, or there are too few episodes.
    """
    if episodes < FEWEST_EPISODES:
        raise UserError(f"{episodes} episodes are too few to fit probes and judge them on others: play at least {FEWEST_EPISODES}")
    with opened(Path(run), best=best, trust=trust, warn=warn, overrides=overrides) as trained:
        _, env, learner, env_steps = trained
        seed = trained.held_out_seed if seed is None else seed
        found = probed(learner, env, episodes, seed, state, on_episode, policy)
    elsewhere = {"overrides": [text for _, text in override_texts(overrides, None)]} if overrides else {}
    return {"env_steps": env_steps, "best": best, "seed": seed, "policy": policy} | elsewhere | found

"""Held-out episodes: played by `jepakit eval`, and by a run from time to time (`eval_every`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from statistics import NormalDist, fmean, stdev
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import torch
from tensordict import TensorDictBase
from torchrl.envs import EnvBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.diagnostics.probes.episodes import expect_an_end
from jepakit.errors import UserError, told
from jepakit.machine.generators import seed_everything
from jepakit.protocols import EPISODE_LENGTH, EPISODE_OVER, EPISODE_RETURN
from jepakit.training.build import build_env
from jepakit.training.learner import Learner
from jepakit.training.monitoring.quiet import quietly
from jepakit.training.policy import Policy

if TYPE_CHECKING:
    from jepakit.recipe import Recipe

MODES = {"greedy": ExplorationType.MODE, "sampled": ExplorationType.RANDOM}
SEED_OFFSET = 1_000_003  #: added to the run's seed, so that evaluation repeats no training episode
PERIODIC_OFFSET = 2_000_003  #: the same within a run: `jepakit eval` judges on other episodes than those that chose the best checkpoint


class Acting(Protocol):
    """A policy of a learner: writes ``action`` into a TensorDict [N] of observations."""

    learner: Learner

    def __call__(self, tensordict: TensorDictBase) -> TensorDictBase:
        """The same TensorDict, with ``action``."""
        ...


class Evaluation:
    """Periodic evaluation of a run, in an env of its own, on the same held-out episodes each time. It changes no training number.

    If one fails, there are no more of them; the run goes on.

    Args:
        recipe: The run's.
        learner: The run's.
    """

    def __init__(self, recipe: Recipe, learner: Learner) -> None:
        self.recipe = recipe
        self.learner = learner
        self.env: EnvBase | None = None
        self.failure = ""  #: why there are no more evaluations

    def is_due(self, before: int, now: int) -> bool:
        """Whether a batch that begins at ``before`` env steps and ends at ``now`` passes a multiple of ``eval_every``."""
        every = self.recipe.eval_every
        return every is not None and now // every > before // every and not self.failure

    def measure(self) -> dict[str, Any]:
        """Play ``eval_episodes`` episodes greedily, and as many sampling: mean returns and lengths, by the names of their metrics.

        Empty if that fails; `failure` says why.
        """
        started = perf_counter()
        figures: dict[str, float] = {}
        try:
            with quietly(self.learner.parts):
                self.env = self.env or build_env(self.recipe)
                for mode in MODES:
                    seed = (self.recipe.seed + PERIODIC_OFFSET) % 2**32
                    played = play(self.env, Policy(self.learner), mode, self.recipe.eval_episodes, seed)
                    figures |= {f"eval/return_{mode}": played["mean"], f"eval/length_{mode}": fmean(played["lengths"])}
        except Exception as error:  # nothing that stands beside training may end it
            self.failure = str(error) if isinstance(error, UserError) else told(error)
            self.close()
            return {}
        return {**figures, "time/eval": round(perf_counter() - started, 4)}

    def close(self) -> None:
        """Close the env, if there is one; it may be broken."""
        env, self.env = self.env, None
        if env:
            with contextlib.suppress(Exception):
                env.close()


@torch.no_grad()
def play(
    env: EnvBase, policy: Acting, mode: str, episodes: int, seed: int, on_episode: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Play ``episodes`` with ``policy`` in one of `MODES`. Seeds the env and all generators.

    Every env plays a fixed share of the episodes: keeping the first to end would favour short ones.

    Returns:
        ``mean``, ``ci95`` (half width, normal approximation; None for one episode), ``returns``, ``lengths`` and ``rewarded_at_end``:
        of each episode whether its last step had a reward above zero.

    Raises:
        UserError: An episode does not end (`expect_an_end`).
    """
    num_envs = env.batch_size[0]
    env.set_seed(seed)
    seed_everything(seed)
    quota = [episodes // num_envs + (n < episodes % num_envs) for n in range(num_envs)]
    played: list[list[tuple[float, int, bool]]] = [[] for _ in range(num_envs)]
    with set_exploration_type(MODES[mode]):
        now = env.reset()
        while any(len(mine) < wanted for mine, wanted in zip(played, quota, strict=True)):
            step, now = env.step_and_maybe_reset(policy(now))
            expect_an_end(now)
            over = step["next"].get(EPISODE_OVER, step["next", "done"])
            for n in over.flatten().nonzero().flatten().tolist():
                end = step["next"][n]
                if len(played[n]) < quota[n]:
                    played[n].append((end[EPISODE_RETURN].item(), end[EPISODE_LENGTH].item(), end["reward"].item() > 0))
                    on_episode()
    ended = [episode for mine in played for episode in mine]
    returns, lengths, rewarded = (list(column) for column in zip(*ended, strict=True))
    return {**mean_and_interval(returns), "returns": returns, "lengths": lengths, "rewarded_at_end": rewarded}


def mean_and_interval(values: list[float]) -> dict[str, float | None]:
    """The mean, and the half width of its 95% confidence interval (normal approximation)."""
    half = NormalDist().inv_cdf(0.975) * stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return {"mean": fmean(values), "ci95": half}

"""State probes while a run trains, in an env of their own."""

from __future__ import annotations

import re
from time import perf_counter

from torchrl.envs import EnvBase

from jepakit.diagnostics.probes.episodes import states
from jepakit.errors import UserError, told
from jepakit.recipe import Recipe
from jepakit.training.build import build_env
from jepakit.training.learner import Learner
from jepakit.training.monitoring.probing import probed
from jepakit.training.monitoring.quiet import same_generators

EPISODES = 30
SEED_OFFSET = 4_000_003  #: added to the run's seed: neither training's episodes nor those of an evaluation or of a recording
_OUTSIDE_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")  #: what the names of metrics do not contain


def check_state(recipe: Recipe, env: EnvBase) -> None:
    """See before a run whether the env tells its state.

    Raises:
        RecipeError: It does not, and the recipe asks for probes.
    """
    if recipe.probe_every is None:
        return
    try:
        states(env, None)
    except UserError as error:
        raise recipe.error("probe_every", str(error), "leave `probe_every` out") from error


class PeriodicProbes:
    """Probes the learner once in ``recipe.probe_every`` env steps, which changes no training number.

    Each time plays the same `EPISODES` starts. If a probe fails, there are no more of them; the run goes on.
    """

    def __init__(self, recipe: Recipe, learner: Learner) -> None:
        self.recipe = recipe
        self.learner = learner
        self.every = recipe.probe_every
        self.env: EnvBase | None = None
        self.failure = ""  #: why there are no more probes

    def measure(self, before: int, env_steps: int) -> dict[str, float | None]:
        """R² by probe and variable, if a probe became due between ``before`` and ``env_steps``; else empty."""
        if not self.every or env_steps // self.every == before // self.every or self.failure:
            return {}
        started = perf_counter()
        try:
            with same_generators():
                self.env = self.env or build_env(self.recipe)
                known = probed(self.learner, self.env, EPISODES, (self.recipe.seed + SEED_OFFSET) % 2**32)["r2"]
        except Exception as error:  # nothing that stands beside training may end it
            self.failure = str(error) if isinstance(error, UserError) else told(error)
            return {}
        figures = {
            f"probe/{kind}/{_OUTSIDE_NAMES.sub('_', name).strip('_')}": r2 for kind, found in known.items() for name, r2 in found.items()
        }
        return {**figures, "time/probe": round(perf_counter() - started, 4)}

    def close(self) -> None:
        """Close the probes' env."""
        if self.env:
            self.env.close()

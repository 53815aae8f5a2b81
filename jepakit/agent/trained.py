"""A trained run: its parts with a checkpoint's weights, and its encoder for use elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from torch import nn
from torchrl.envs import EnvBase

from jepakit.errors import UserError
from jepakit.machine import generators
from jepakit.machine.hardware import settle
from jepakit.recipe import Recipe, load_recipe
from jepakit.recipe.compose import Overrides
from jepakit.recipe.identity import source_digests
from jepakit.storage.folder import read_provenance
from jepakit.storage.provenance import EDITED, code_was_edited
from jepakit.storage.stored import chosen_checkpoint, stored_recipe
from jepakit.training.build import build_env, build_learner
from jepakit.training.learner import Learner
from jepakit.training.monitoring.evaluation import SEED_OFFSET
from jepakit.training.monitoring.quiet import same_generators
from jepakit.training.state import load_schedules, load_weights
from jepakit.training.terms import JEPA


class Trained(NamedTuple):
    """A run's parts with the weights of one of its checkpoints, and an env of its recipe."""

    recipe: Recipe
    env: EnvBase
    learner: Learner
    env_steps: int  #: env steps of training

    @property
    def held_out_seed(self) -> int:
        """A seed whose episodes training has not played: the first is that of `jepakit eval`."""
        return (self.recipe.seed + SEED_OFFSET) % 2**32


@contextmanager
def opened(
    run: Path, *, best: bool, trust: bool, warn: Callable[[str], object], overrides: Overrides = (), alone: bool = False
) -> Iterator[Trained]:
    """Open the run in folder ``run`` with its trained weights; afterwards close the env, and set the global generators as they were.

    Schedules are where they were at the checkpoint: the algorithm explores as it did there.

    Args:
        run: A run's folder.
        best: Use the best checkpoint, not the newest: by the run's periodic evaluation or, without it, by the mean return of the last 100
            training episodes.
        trust: Whether to run the plug-ins that the run's recipe names.
        warn: Called with a message about each corrupt checkpoint, and if code that the recipe names was edited.
        overrides: Changes of the recipe's env and distractions.
        alone: Whether the env has one simulator, in this process, where its kind allows.

    Raises:
        UserError: The folder holds no run with an intact checkpoint, its recipe names code and ``trust`` is False, or ``overrides`` change
            something else than where the agent acts. Or another thread of this process trains or plays.
    """
    with generators.alone(), same_generators():
        recipe, hardware = settle(_elsewhere(run, trust, warn, overrides))
        saved = chosen_checkpoint(run, best, warn)
        with closing(build_env(_alone(recipe) if alone else recipe)) as env:
            learner = build_learner(recipe, env, hardware)
            load_schedules(saved, learner, recipe)
            load_weights(saved, learner)
            yield Trained(recipe, env, learner, int(saved.name))


def looking_ahead(learner: Learner) -> JEPA:
    """The learner's JEPA, whose predictor can be rolled out.

    Raises:
        UserError: It cannot; the message says why.
    """
    if learner.jepa is None:
        raise UserError("this run has no predictor (its recipe says `jepa: null`): there is nothing to roll out")
    if learner.jepa.y == "same":
        raise UserError("this run's predictor looks no step ahead (its recipe says `jepa.y: same`): there is nothing to roll out")
    return learner.jepa


def _elsewhere(run: Path, trust: bool, warn: Callable[[str], object], overrides: Overrides) -> Recipe:
    """The run's recipe with another env or other distractions; warns if it names code that was edited."""
    recipe = stored_recipe(run, trust)
    try:
        if code_was_edited(read_provenance(run), source_digests(recipe)):
            warn(f"{EDITED} since {run} began: its weights now run in other code than they were trained in")
    except UserError as error:  # edited in this process
        warn(f"{run}: {error}")
    if not overrides:
        return recipe
    changed = load_recipe(run / "recipe.yaml", overrides)  # the file, so that a message names its line
    before, after = (each.model_dump(mode="json") for each in (recipe, changed))  # data: a plug-in file's kinds have other classes now
    for name in before:
        if name not in ("env", "distractions") and after[name] != before[name]:
            raise UserError(f"--set {name}: only `env` and `distractions` can change: the rest is what was trained")
    return changed


def _alone(recipe: Recipe) -> Recipe:
    """The recipe with one simulator, in this process."""
    env = recipe.env
    if "num_envs" in type(env).model_fields:
        env = env.model_copy(update={"num_envs": 1})
    return recipe.model_copy(update={"env": env, "processes": 1})


def load_encoder(run: str | Path, *, best: bool = False, trust: bool = False) -> nn.Module:
    """The trained encoder of the run in folder ``run``: uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D], in eval mode.

    It is on the run's device. Its parameters require gradients as they did in training. The global random number generators keep their
    state.

    Args:
        run: A run's folder.
        best: Use the best checkpoint, not the newest: by the run's periodic evaluation or, without it, by the mean return of the last 100
            training episodes.
        trust: Whether to run the plug-ins that the run's recipe names.

    Raises:
        UserError: The folder holds no run with an intact checkpoint, or its recipe names code and ``trust`` is False.
    """
    with opened(Path(run), best=best, trust=trust, warn=warnings.warn) as trained:
        return trained.learner.encoder.eval()

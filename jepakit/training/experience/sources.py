"""Builds a recipe's source of recorded data."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import torch
from torchrl.envs import EnvBase

from jepakit import registry
from jepakit.errors import shown
from jepakit.protocols import PIXELS, Source
from jepakit.recipe.schema import TASK
from jepakit.training.blame import Blame

if TYPE_CHECKING:
    from jepakit.recipe import Recipe


def build_source(recipe: Recipe, env: EnvBase) -> Source | None:
    """Build the recipe's source of recorded data, which has not loaded it yet; None: the recipe has none.

    Raises:
        RecipeError: The recipe's algorithm learns from rewards, the data is not there or does not fit, or a loss term needs what it lacks.
    """
    config = recipe.source
    if config is None:
        if not recipe.simulated:
            wrong = f"the env `{recipe.env.kind}` has no simulator, and there is no source of recorded data"
            raise recipe.error("env", wrong, "write a `source`")
        return None
    if recipe.learns:
        wrong = f"the algorithm `{recipe.algorithm.kind}` learns from its own steps, and with a source the env is not stepped"
        raise recipe.error("algorithm.kind", wrong, "write `algorithm: {kind: none}`; another run can begin with the encoder")
    with Blame(recipe).at("source"):
        if env.observation_spec[PIXELS].dtype != torch.uint8:
            raise ValueError(f"the env `{recipe.env.kind}` has no frames, which recorded data is made of")
        source: Source = registry.build("source", config, frames=env.frame_shape, action_spec=env.single_action_spec)
        if not isinstance(source, Source):
            raise ValueError(f"{type(source).__name__} has no `load` and `lacks`")
    for slot in ("auxiliary", "regularizers"):
        for i, term in enumerate(getattr(recipe, slot)):
            with Blame(recipe).at(f"{slot}.{i}"):
                cls = term.component.cls
                asked = inspect.signature(getattr(cls, "forward", cls.__call__)).parameters
                given = {name.removeprefix("s_hat_") for name in asked}
                if needs := sorted(given.intersection(source.lacks)):
                    raise ValueError(f"kind `{term.kind}` learns from {', '.join(needs)}, which the source `{config.kind}` does not have")
    return source


def of_another_env(recipe: Recipe, source: Source | None) -> list[str]:
    """A notice where a source that knows the env of its data, as ``env``, a mapping of that block, has another than the recipe."""
    theirs, mine = getattr(source, "env", None), recipe.env.model_dump(mode="json")
    if not isinstance(theirs, dict) or not recipe.simulated:
        return []
    recorded, here = (", ".join(str(env[name]) for name in ("kind", *TASK) if name in env) for env in (theirs, mine))
    if recorded == here:
        return []
    return [
        f"the source was recorded in another env ({shown(recorded)}) than the recipe's ({here}), where its actions may mean something else"
    ]

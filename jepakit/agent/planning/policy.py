"""A policy that plans: at each step it searches, takes the first action of the plan found, and goes on from the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor

from jepakit import registry
from jepakit.agent.planning.model import WorldModel
from jepakit.agent.trained import Trained
from jepakit.diagnostics.finite import expect_finite_embedding
from jepakit.errors import UserError, shown
from jepakit.protocols import ACTION, EPISODE_LENGTH, PIXELS
from jepakit.recipe import RecipeError, load_recipe

DEFAULT = "{kind: cem}"  #: where the run's recipe has no planner


def planner_fields(run: Path, changes: str | Mapping[str, Any] = "{}") -> Any:
    """The fields of a trusted run's planner, changed: of its recipe's `planner`, or `DEFAULT` if it has none.

    Args:
        run: A run's folder.
        changes: Fields over these: a mapping, or YAML.

    Raises:
        UserError: They are wrong.
    """
    recipe = run / "recipe.yaml"
    text = changes if isinstance(changes, str) else json.dumps(dict(changes))
    first = [] if load_recipe(recipe).planner else [f"planner={DEFAULT}"]
    try:
        found = load_recipe(recipe, [*first, f"planner={text}"]).planner
    except RecipeError as error:
        raise UserError(str(error).replace(f"--set #{len(first) + 1}", "--planner")) from error
    if found is None:
        raise UserError(f"--planner {shown(text)}: write fields, such as {{kind: cem, horizon: 5}}")
    return found


class PlanningPolicy:
    """Acts for N envs at once. All randomness comes from torch's global generator.

    Args:
        trained: The run's parts, with their weights.
        config: The planner's fields, as a recipe holds them.

    Raises:
        UserError: The run lacks a part that planning needs, or the planner cannot be built.
    """

    def __init__(self, trained: Trained, config: Any) -> None:
        recipe, env, self.learner, _ = trained
        self.config = fields = config
        gamma = getattr(recipe.algorithm, "gamma", None)
        if not isinstance(gamma, float):
            raise UserError(f"planning discounts as the run's algorithm does, but `{recipe.algorithm.kind}` has no field `gamma`")
        self.horizon: int = fields.horizon
        self.policy_samples: int = fields.policy_samples
        self.model = WorldModel(self.learner, gamma, value=fields.value)
        try:
            self.planner = registry.build("planner", config, action_spec=env.single_action_spec)
        except ValueError as error:
            raise UserError(f"the planner `{config.kind}` cannot be built: {error}") from error
        self.plan: Tensor | None = None  #: [N, H, ...]: of the last step

    @torch.no_grad()
    def __call__(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write ``action`` for ``pixels`` [N, K, C, H, W] into ``tensordict`` [N].

        Raises:
            FloatingPointError: s_x is not finite.
        """
        s_x = self.learner.embed(tensordict[PIXELS])
        expect_finite_embedding(s_x)
        going_on = (tensordict[EPISODE_LENGTH] > 0).flatten()
        proposals = self.model.proposals(s_x, max(1, self.policy_samples), self.horizon)
        if self.plan is None:
            self.plan, going_on = proposals[:, 0], torch.zeros_like(going_on)
        previous = torch.cat((self.plan[:, 1:], self.plan[:, -1:]), dim=1)
        self.plan = self.planner(lambda actions: self.model.score(s_x, actions), proposals[:, : self.policy_samples], previous, going_on)
        return tensordict.set(ACTION, self.plan[:, 0])

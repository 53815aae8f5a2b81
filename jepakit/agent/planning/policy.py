"""A policy that plans: it searches, takes the first action of the plan found, or some of them, and goes on from the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor

from jepakit import registry
from jepakit.agent.planning.goal import GoalModel
from jepakit.agent.planning.model import WorldModel
from jepakit.agent.trained import Trained
from jepakit.diagnostics.finite import expect_finite_embedding
from jepakit.errors import UserError, shown
from jepakit.protocols import ACTION, EPISODE_LENGTH, PIXELS, HasGoals, Score
from jepakit.recipe import RecipeError, load_recipe

STRAYS = 16  #: random sequences from each embedding that is at hand, by which steps are measured
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
        recipe, self.env, self.learner, _ = trained
        self.config = fields = config
        self.horizon: int = fields.horizon
        self.policy_samples: int = fields.policy_samples
        self.every: int = fields.every
        self.model: WorldModel | GoalModel
        if fields.goal is not None and goals_of(self.env) is not None:
            self.model = GoalModel(self.learner, fields.goal)
        else:
            gamma = getattr(recipe.algorithm, "gamma", None)
            if not isinstance(gamma, float):
                kind = recipe.algorithm.kind
                advice = "take a run with an RL algorithm, or plan to goals"
                raise UserError(f"planning discounts as the run's algorithm does, but `{kind}` has no field `gamma`: {advice}")
            self.model = WorldModel(self.learner, gamma, value=fields.value)
        try:
            self.planner = registry.build("planner", config, action_spec=self.env.single_action_spec)
        except ValueError as error:
            raise UserError(f"the planner `{config.kind}` cannot be built: {error}") from error
        self.plan: Tensor | None = None  #: [N, H, ...]: what is left of each env's, its last action repeated
        self.taken = torch.zeros(0, dtype=torch.int64)  #: [N]: steps taken of it

    @torch.no_grad()
    def __call__(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write ``action`` for ``pixels`` [N, K, C, H, W] into ``tensordict`` [N].

        Raises:
            FloatingPointError: s_x is not finite.
        """
        going_on = (tensordict[EPISODE_LENGTH] > 0).flatten()
        if self.plan is None:
            going_on = torch.zeros_like(going_on)
            self.taken = torch.zeros_like(going_on, dtype=torch.int64)
            self.plan = self.env.single_action_spec.zero(torch.Size((len(going_on), self.horizon))).to(going_on.device)
        else:
            self.plan = torch.cat((self.plan[:, 1:], self.plan[:, -1:]), dim=1)
            self.taken += 1
        due = ~going_on | (self.taken >= min(self.every, self.horizon))
        if due.any():
            self.plan[due] = self._found(tensordict[PIXELS][due], due, self.plan[due], going_on[due])
            self.taken[due] = 0
        return tensordict.set(ACTION, self.plan[:, 0])

    def _found(self, pixels: Tensor, due: Tensor, previous: Tensor, going_on: Tensor) -> Tensor:
        """New plans [M, H, ...] for the M envs that are ``due``."""
        s_x = self.learner.embed(pixels)
        expect_finite_embedding(s_x)
        proposals = self.model.proposals(s_x, max(1, self.policy_samples), self.horizon)[:, : self.policy_samples]
        found: Tensor = self.planner(self._score(s_x, due), proposals, previous.to(s_x.device), going_on.to(s_x.device))
        return found.to(previous.device)

    def _score(self, s_x: Tensor, due: Tensor) -> Score:
        model = self.model
        if isinstance(model, WorldModel):
            return lambda actions: model.score(s_x, actions)
        goals = goals_of(self.env)
        assert goals is not None
        s_goal = self.learner.embed(goals.to(s_x.device)[due])
        expect_finite_embedding(s_goal)
        if self.config.metric == "steps" and model.scale is None:
            starts = torch.cat((s_x, s_goal))
            model.measure_steps(starts, self.env.single_action_spec.rand(torch.Size((len(starts), STRAYS, self.horizon))).to(s_x.device))
        return lambda actions: model.score(s_x, actions, s_goal)


def goals_of(env: object) -> Tensor | None:
    """What each of the env's N simulators would show at its goal, uint8 [N, K, C, H, W]; None if its task has no goals."""
    return env.goals if isinstance(env, HasGoals) else None

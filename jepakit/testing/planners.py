"""The rules for planners."""

from __future__ import annotations

import torch
from torch import Tensor

from jepakit.protocols import ACTION
from jepakit.testing.modules import Inputs, Make, check_module
from jepakit.testing.rules import Rules, expect, expect_tensor
from jepakit.testing.settings import Setting

ENVS, PROPOSED, STEPS = 5, 3, 4


def check_planner(rules: Rules, make: Make, setting: Setting) -> None:
    """A planner finds, for each env by itself, actions that score higher than random ones."""
    wanted = setting.action(ENVS, STEPS)

    def score(actions: Tensor) -> Tensor:
        asked.append(actions)
        missed = (actions != wanted[:, None]).float() if actions.ndim == 3 else (actions - wanted[:, None]).abs().sum(dim=-1)
        return -missed.sum(dim=-1)

    asked: list[Tensor] = []
    given = {
        "proposals": setting.action(ENVS, PROPOSED, STEPS),
        "previous": setting.action(ENVS, STEPS),
        "going_on": torch.arange(ENVS) % 2 == 0,
    }

    def planned(component: object, inputs: Inputs) -> dict[str, Tensor]:
        return {ACTION: component(score, **inputs)}  # type: ignore[operator]

    cases = {"": given, " without proposals": {**given, "proposals": given["proposals"][:, :0]}}
    with rules.rule("output", "return one sequence for each env, in the dtype and within the bounds of action_spec"):
        for what, inputs in cases.items():
            plan = planned(make(0), inputs)[ACTION]
            expect_tensor(f"the plan{what}", plan, wanted.shape, setting.action_spec.dtype)
            inside = all(setting.action_spec.is_in(action) for action in plan.flatten(0, 1))
            expect(inside, f"an action of the plan{what} is outside the bounds of its spec")
    with rules.rule("score", "ask the score for sequences [N, S, H, ...] of actions within their bounds, S as large as you like"):
        for actions in asked:
            expect_tensor("a batch of sequences", actions, (ENVS, actions.shape[1], *wanted.shape[1:]), setting.action_spec.dtype)
        inside = all(setting.action_spec.is_in(action) for actions in asked for action in actions.flatten(0, 2)[:500])
        expect(inside, "an action that it asks about is outside the bounds of its spec")
    if rules.broken:
        return
    with rules.rule("search", "the plan should score higher than sequences drawn at random"):
        torch.manual_seed(0)
        random = score(setting.action(ENVS, 200, STEPS)).mean(dim=1)
        found = score(planned(make(0), cases[" without proposals"])[ACTION][:, None])[:, 0]
        expect((found > random).all(), f"plans scored {found.tolist()}, where random sequences have a mean of {random.tolist()}")
    check_module(rules, make, planned, given)

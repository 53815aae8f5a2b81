"""Planning towards a goal that can be seen, in a run without rewards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from jepakit.agent.evaluate import evaluate
from jepakit.agent.planning.goal import GoalModel
from jepakit.agent.planning.policy import PlanningPolicy, planner_fields
from jepakit.agent.trained import opened
from jepakit.cli.eval import Acting, command
from jepakit.errors import UserError
from jepakit.protocols import ACTION, EPISODE_LENGTH, PIXELS
from jepakit.training.run import run

SMALL: dict[str, Any] = {
    "env": {"kind": "two_rooms", "num_envs": 3, "max_episode_steps": 12},
    "encoder": {"kind": "cnn", "layers": [[4, 16, 16]], "dim": 6},
    "jepa": {"horizon": 2, "predictor": {"kind": "residual", "hidden": 8, "depth": 1}},
    "algorithm": {"kind": "none", "rollout_steps": 16, "minibatch_size": 16},
    "total_steps": 96,
    "threads": 1,
    "diagnostics": [],
    "device": "cpu",
}
PLANNER = {"horizon": 6, "samples": 6, "elites": 2, "iterations": 2, "policy_samples": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(SMALL, out=tmp_path_factory.mktemp("goals") / "run", quiet=True).path


@pytest.mark.parametrize("goal", ["sum", "last"])
def test_the_score_is_the_distance_to_the_goal_along_the_roll_out(trained: Path, goal: Any) -> None:
    with opened(trained, best=False, trust=False, warn=print) as (_, env, learner, _), torch.no_grad():
        learner.parts.eval()
        torch.manual_seed(0)
        s_x, s_goal = torch.randn(2, 3, learner.embedding_width)
        actions = env.single_action_spec.rand(torch.Size((3, 4, 5)))
        found = GoalModel(learner, goal).score(s_x, actions, s_goal)
        for n in range(3):
            for sample in range(4):
                s, distances = s_x[n : n + 1], []
                for k in range(5):
                    s = learner.jepa.predictor(s, actions[n, sample, k : k + 1])
                    distances.append((s[0] - s_goal[n]).square().sum().item())
                expected = -sum(distances) if goal == "sum" else -distances[-1]
                assert found[n, sample].item() == pytest.approx(expected, rel=1e-4)


def test_goals_are_those_of_the_envs_that_are_planned_for(trained: Path) -> None:
    """Each env is searched for when its plan is used up or its episode begins; the score knows that env's goal, and only then."""
    seen: list[Any] = []
    with opened(trained, best=False, trust=False, warn=print) as parts:
        policy = PlanningPolicy(parts, planner_fields(trained, {**PLANNER, "every": 3}))

        def search(score: Any, proposals: Any, previous: Any, going_on: Any) -> Any:
            probe = torch.zeros_like(previous)[:, None]
            seen.append((going_on.tolist(), score(probe).flatten(), previous[:, 0, 0].tolist()))
            return torch.arange(1.0, 7).view(1, 6, 1).expand(len(previous), 6, 2) / 10

        policy.planner = search
        now = parts.env.reset()
        lengths = torch.tensor([[0], [0], [0]])
        taken = []
        for step in range(6):
            acted = policy(TensorDict({PIXELS: now[PIXELS], EPISODE_LENGTH: lengths}, [3]))
            taken.append([round(10 * value) for value in acted[ACTION][:, 0].tolist()])
            lengths = lengths + 1
            if step == 3:
                lengths[1] = 0  # its episode begins anew
        model = GoalModel(parts.learner, "sum")
        s_x, s_goal = parts.learner.embed(now[PIXELS]), parts.learner.embed(parts.env.goals)
        still = model.score(s_x, torch.zeros(3, 1, 6, 2), s_goal).flatten()
    assert taken == [[1, 1, 1], [2, 2, 2], [3, 3, 3], [1, 1, 1], [2, 1, 2], [3, 2, 3]]
    assert [going_on for going_on, _, _ in seen] == [[False] * 3, [True] * 3, [False]]
    assert seen[1][2] == pytest.approx([0.4] * 3), "a search starts from what is left of the plan"
    torch.testing.assert_close(seen[0][1], still)
    torch.testing.assert_close(seen[2][1], still[1:2])


def test_eval_plans_towards_goals_and_tells_the_success_rate(trained: Path, capsys: Any) -> None:
    command(trained, episodes=3, seed=2, policy=Acting.plan, planner=json.dumps({**PLANNER, "every": 2, "hold": 2}))
    printed = capsys.readouterr().out
    assert "success" in printed
    (written,) = trained.glob("eval-*.json")
    found = json.loads(written.read_text())
    for mode in ("greedy", "sampled", "planned"):
        assert found[mode]["success"] == sum(value > 0 for value in found[mode]["returns"]) / 3
    assert found == evaluate(trained, 3, 2, planner=found["planner"])
    with pytest.raises(UserError, match="has no field `gamma`"):
        evaluate(trained, 1, planner={**PLANNER, "goal": None})


def test_distances_in_steps_weigh_each_direction_by_what_a_step_changes_there(trained: Path) -> None:
    with opened(trained, best=False, trust=False, warn=print) as (_, env, learner, _), torch.no_grad():
        torch.manual_seed(0)
        model, width = GoalModel(learner, "sum"), learner.embedding_width
        starts, actions = torch.randn(4, width), env.single_action_spec.rand(torch.Size((4, 30, 5)))
        rolled = model.unrolled(starts, actions).double().numpy()
        changes = (rolled[:, 1:] - rolled[:, :-1]).reshape(-1, width)
        outer = sum(np.outer(change, change) for change in changes) / len(changes)
        inverse = np.linalg.inv(outer + 1e-3 * np.trace(outer) / width * np.eye(width))

        model.measure_steps(starts, actions)
        s_goal = torch.randn(4, width)
        found = model.score(starts, actions, s_goal)
        for n, sample in ((0, 0), (3, 29)):
            apart = rolled[30 * n + sample, 1:] - s_goal[n].double().numpy()
            assert found[n, sample].item() == pytest.approx(-sum(d @ inverse @ d for d in apart), rel=1e-3)


def test_distances_in_steps_take_what_is_finite_and_stay_euclidean_where_nothing_changes(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(trained, best=False, trust=False, warn=print) as (_, env, learner, _), torch.no_grad():
        starts, actions = torch.zeros(4, learner.embedding_width), env.single_action_spec.rand(torch.Size((4, 2, 5)))
        rolled = torch.randn(8, 6, learner.embedding_width)
        spoiled = torch.cat((rolled, rolled * torch.inf, rolled * torch.nan))
        scales = []
        for outcome in (rolled, spoiled, torch.ones_like(rolled), torch.full_like(rolled, torch.inf)):
            model = GoalModel(learner, "sum")
            monkeypatch.setattr(model, "unrolled", lambda *_, outcome=outcome: outcome)
            model.measure_steps(starts, actions)
            scales.append(model.scale)
    assert torch.equal(scales[0], scales[1])
    assert scales[2:] == [None, None]


def test_a_planner_measures_steps_once_where_it_is_asked_to(trained: Path) -> None:
    for metric, measured in (("euclidean", False), ("steps", True)):
        with opened(trained, best=False, trust=False, warn=print) as parts:
            policy = PlanningPolicy(parts, planner_fields(trained, {**PLANNER, "metric": metric}))
            assert isinstance(policy.model, GoalModel)
            policy(parts.env.reset())
            first = policy.model.scale
            assert (first is not None) == measured
            policy(parts.env.reset())
            assert policy.model.scale is first

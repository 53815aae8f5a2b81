"""`jepakit eval --policy plan`: planning over the predictor's roll-outs, in the agent's own env."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs.utils import ExplorationType, set_exploration_type

import jepakit
from jepakit.agent.evaluate import evaluate
from jepakit.agent.planning.model import WorldModel
from jepakit.agent.planning.policy import PlanningPolicy, planner_fields
from jepakit.agent.trained import opened
from jepakit.cli.eval import Acting, command
from jepakit.errors import UserError
from jepakit.protocols import ACTION, EPISODE_LENGTH, PIXELS, S_X

SMALL = {"total_steps": 100, "env.num_envs": 2, "threads": 1, "diagnostics": []}
ON = SMALL | {"algorithm.rollout_steps": 50, "algorithm.minibatch_size": 50, "algorithm.epochs": 1}
MODELS = [{"kind": "reward_model"}, {"kind": "termination_model"}]
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "discrete": ("cartpole_plan", ON | {"jepa.horizon": 2}),
    "gru": ("cartpole_plan", ON | {"jepa.predictor": {"kind": "gru", "hidden": 16}}),
    "continuous": ("pendulum_plan", ON | {"jepa.horizon": 2}),
    "dqn": ("cartpole_dqn", SMALL | {"algorithm.learning_starts": 50, "auxiliary": MODELS}),
    "sac": ("pendulum_plan", SMALL | {"algorithm": {"kind": "sac", "learning_starts": 50}}),
}
PLANNER = {"horizon": 3, "samples": 6, "elites": 2, "iterations": 2, "policy_samples": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Path] = {}

    def train(name: str, other: dict[str, Any] | None = None) -> Path:
        if name not in made:
            recipe, overrides = ("cartpole_plan", other) if other else RUNS[name]
            made[name] = jepakit.run(recipe, overrides=overrides, out=tmp_path_factory.mktemp("runs") / name, quiet=True).path
        return made[name]

    return train


@pytest.mark.parametrize("name", RUNS)
def test_the_score_of_a_sequence_matches_a_slow_loop(trained: Any, name: str) -> None:
    """Rewards and what follows the last, each times γ^k and the probability that the episode has come so far."""
    run = trained(name)
    with opened(run, best=False, trust=False, warn=print) as (_, env, learner, _), torch.no_grad():
        learner.parts.eval()
        torch.manual_seed(0)
        s_x, actions = torch.randn(3, learner.embedding_width), env.single_action_spec.rand(torch.Size((3, 4, 5)))
        with torch.random.fork_rng():
            found = WorldModel(learner, 0.9).score(s_x, actions)
        terms = {key.partition("/")[2]: term.loss for key, term in learner.terms.items()}
        head, unit = learner.algorithm.policy_head(), getattr(learner.algorithm, "reward_scale", 1.0)
        head.reset_out_keys()
        for n in range(3):
            for sample in range(4):
                s, worth, alive = s_x[n : n + 1], 0.0, 1.0
                for k in range(5):
                    a = actions[n, sample, k : k + 1]
                    worth += 0.9**k * alive * terms["reward_model"].reward(s, a).item()
                    if "termination_model" in terms:
                        alive *= terms["termination_model"].continues(s, a).item()
                    if hasattr(learner.jepa.predictor, "unroll"):
                        s = learner.jepa.predictor.unroll(s_x[n : n + 1], actions[n : n + 1, sample, : k + 1])[:, -1]
                    else:
                        s = learner.jepa.predictor(s, a)
                with set_exploration_type(ExplorationType.MODE):
                    acted = head(TensorDict({S_X: s}, [1]))
                if "state_value" in acted:
                    value = acted["state_value"]
                else:
                    value = acted["action_value"].max() if "action_value" in acted else learner.algorithm.action_value(s, acted[ACTION])
                worth += 0.9**5 * alive * value.item() / unit
                assert found[n, sample].item() == pytest.approx(worth, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", ["discrete", "gru", "continuous"])
def test_the_policy_proposes_sequences_along_its_own_roll_outs(trained: Any, name: str) -> None:
    """Greedily, they are what the policy does at each embedding that the predictor expects."""
    run = trained(name)
    with opened(run, best=False, trust=False, warn=print) as (_, env, learner, _), torch.no_grad():
        learner.parts.eval()
        model, s_x = WorldModel(learner, 0.9), torch.randn(3, learner.embedding_width)
        proposed = model.proposals(s_x, 2, 4)
        assert proposed.shape == (3, 2, 4, *env.single_action_spec.shape)
        assert all(env.single_action_spec.is_in(action) for action in proposed.flatten(0, 2))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("jepakit.agent.planning.rollouts.set_exploration_type", lambda _: set_exploration_type(ExplorationType.MODE))
            greedy = model.proposals(s_x, 1, 4)[:, 0]
        for k in range(4):
            so_far = greedy[:, :k]
            if k == 0:
                s = s_x
            elif hasattr(learner.jepa.predictor, "unroll"):
                s = learner.jepa.predictor.unroll(s_x, so_far)[:, -1]
            else:
                s = learner.jepa.predictor(s, greedy[:, k - 1])
            with set_exploration_type(ExplorationType.MODE):
                torch.testing.assert_close(model.head(TensorDict({S_X: s}, [3]))[ACTION], greedy[:, k])


@pytest.mark.parametrize(("name", "kind"), [("discrete", "cem"), ("continuous", "mppi")])
def test_planned_episodes_repeat_and_stand_beside_the_others(trained: Any, name: str, kind: str, capsys: Any) -> None:
    run = trained(name)
    fields = json.dumps({"kind": kind, **PLANNER})
    elsewhere = [] if name == "discrete" else ["env.max_episode_steps=20"]
    command(run, episodes=3, seed=5, policy=Acting.plan, planner=fields, overrides=elsewhere)
    assert "planned" in (printed := capsys.readouterr().out)
    (file,) = run.glob("eval-*.json")
    assert str(file) in printed
    assert not (run / "eval.json").exists()
    found = json.loads(file.read_text())
    assert found["planner"] | {"kind": kind, **PLANNER} == found["planner"]
    assert evaluate(run, 3, 5, planner=fields, overrides=elsewhere) == found
    assert len(found["planned"]["returns"]) == 3
    plain = evaluate(run, 3, 5, overrides=elsewhere)
    assert {mode: found[mode] for mode in ("greedy", "sampled")} == {mode: plain[mode] for mode in ("greedy", "sampled")}


def test_a_plan_goes_on_until_its_episode_ends(trained: Any) -> None:
    """The search is handed what is left of the last plan, where the episode has not begun anew; all envs are planned for at once."""
    seen: list[dict[str, Any]] = []

    def search(score: Any, proposals: Any, previous: Any, going_on: Any) -> Any:
        plan = torch.arange(4).expand(3, -1) % 2 if not seen else previous
        seen.append({"previous": previous, "going_on": going_on.tolist(), "proposals": proposals.shape, "scores": score(proposals).shape})
        return plan

    with opened(trained("discrete"), best=False, trust=False, warn=print) as parts:
        policy = PlanningPolicy(parts, planner_fields(trained("discrete"), {**PLANNER, "horizon": 4}))
        policy.planner = search
        for lengths in ([0, 0, 0], [1, 0, 1]):
            pixels = torch.randint(0, 256, (3, 3, 1, 40, 60)).to(torch.uint8)
            now = TensorDict({PIXELS: pixels, EPISODE_LENGTH: torch.tensor(lengths)[:, None]}, [3])
            action = policy(now)[ACTION]
    assert [each["going_on"] for each in seen] == [[False] * 3, [True, False, True]]
    assert seen[1]["previous"].tolist() == [[1, 0, 1, 1]] * 3
    assert action.tolist() == [1, 1, 1]
    assert seen[0]["proposals"] == (3, 2, 4)
    assert seen[0]["scores"] == (3, 2)


def test_what_planning_needs_is_named(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(name: str, overrides: dict[str, Any]) -> Any:
        return evaluate(trained(name, overrides), 1, planner="{}")

    with pytest.raises(UserError, match=r"has not trained: add `auxiliary: .*reward_model"):
        planned("no model", ON | {"auxiliary": []})
    with pytest.raises(UserError, match=r"no predictor .*`jepa: null`"):
        planned("no jepa", ON | {"jepa": None, "auxiliary": []})
    with pytest.raises(UserError, match="behind a projector"):
        planned("projected", ON | {"jepa.projector": {"kind": "linear", "dim": 8}})
    monkeypatch.setattr("jepakit.agent.planning.model.state_values", lambda *_: None)  # as of an algorithm of a user's own
    with pytest.raises(UserError, match="PPO, has no critic: write `value: false`"):
        evaluate(trained("discrete"), 1, planner="{}")
    assert evaluate(trained("discrete"), 1, planner={**PLANNER, "value": False})["planned"]["returns"]


def test_a_wrong_planner_is_a_mistake_that_names_the_option(trained: Any) -> None:
    run = trained("discrete")
    with pytest.raises(UserError, match=r"--planner[\s\S]*magic"):
        planner_fields(run, "{kind: magic}")
    with pytest.raises(UserError, match=r"--planner[\s\S]*horizon"):
        planner_fields(run, "{horizon: 0}")
    with pytest.raises(UserError, match="elites 99 is more than the 64 samples"):
        evaluate(run, 1, planner="{elites: 99}")
    with pytest.raises(UserError, match="add --policy plan"):
        command(run, planner="{}")
    assert planner_fields(run).model_dump()["kind"] == "cem"

"""Observations are whole episodes, each with the state of its own moment, split by episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from jepakit import UserError
from jepakit.components.envs.gym import GymEnv
from jepakit.diagnostics.probes import episodes as module
from jepakit.diagnostics.probes.episodes import Observations, play
from jepakit.diagnostics.probes.knowledge import AHEAD, knowledge


def read(diary: Any) -> Mapping[str, float]:
    return {"episode": diary.episode, "steps": diary.steps, "action": diary.action}


def drawn(pixels: Tensor) -> tuple[Tensor, None]:
    """What `Diary` has drawn into the newest frame: the number of the episode, of the step, and 10 + the action that led there."""
    newest = pixels[:, -1, 0, :, 0]  # [N, H]
    return torch.stack([newest[:, 0], newest[:, 2], newest[:, 4]], dim=1).float(), None


def play_diary(episodes: int = 12) -> Observations:
    env = GymEnv(0, id="Diary-v0", num_envs=3, size=None, max_episode_steps=4)
    torch.manual_seed(0)
    try:
        return play(env, env.rand_action, drawn, episodes, read)
    finally:
        env.close()


@pytest.fixture(scope="module")
def seen(diary: None) -> Observations:
    return play_diary()


def test_state_and_embedding_are_of_the_same_moment(seen: Observations) -> None:
    assert seen.names == ("episode", "steps", "action")
    assert torch.equal(seen.s_x[:, :2].double(), seen.state[:, :2])
    assert torch.equal(seen.s_x[:, 2].double(), 10 + seen.state[:, 2])


def test_an_action_leads_to_the_next_observation_of_its_episode(seen: Observations) -> None:
    now = seen.pairs(1)
    assert torch.equal(seen.action[now].double(), seen.state[now + 1, 2])
    assert torch.equal(seen.state[now + 1, :2], seen.state[now, :2] + torch.tensor([0.0, 1.0]))


def test_each_episode_is_whole_and_none_is_there_twice(seen: Observations) -> None:
    assert len(seen.episode.unique()) == 12
    for number in seen.episode.unique():
        steps = seen.state[seen.episode == number, 1]
        assert steps.tolist() == list(range(len(steps)))
        assert len(steps) in (3, 4, 5)  # Diary ends after 2 to 6 steps, and the limit is 4: with the first observation 3 to 5


def test_fitted_and_held_out_episodes_are_apart(seen: Observations) -> None:
    fit, fold, held_out = seen.split(seed=1)
    assert not set(fit.episode.tolist()) & set(held_out.episode.tolist())
    assert len(fit.episode) + len(held_out.episode) == len(seen.episode)
    assert len(held_out.episode.unique()) == 4
    for number in fit.episode.unique():
        assert len(fold[fit.episode == number].unique()) == 1  # a fold holds whole episodes, too
    assert fold.unique().tolist() == [0, 1, 2, 3]
    assert not torch.equal(held_out.episode, seen.split(seed=2)[2].episode)


def test_pairs_k_steps_apart_lie_in_one_episode(seen: Observations) -> None:
    for k in AHEAD:
        for now in seen.pairs(k).tolist():
            assert seen.episode[now] == seen.episode[now + k]
    expected = sum(max(0, int((seen.episode == number).sum()) - 2) for number in seen.episode.unique())
    assert len(seen.pairs(2)) == expected


def test_simulators_in_processes_tell_the_same() -> None:
    def play_cart_pole(processes: int) -> Observations:
        env = GymEnv(0, processes, id="CartPole-v1", num_envs=2, size=(8, 12))  # Diary would have the processes import torch
        torch.manual_seed(0)
        read = (lambda pole: {"angle": pole.state[2]}) if processes > 1 else None
        try:
            return play(env, env.rand_action, drawn, 2, read)
        finally:
            env.close()

    here, elsewhere = play_cart_pole(1), play_cart_pole(2)
    assert here.names == ("position", "velocity", "angle", "angular velocity")
    assert torch.equal(elsewhere.state[:, 0], here.state[:, 2])


def test_a_perfect_predictor_predicts_the_state(diary: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `Diary`: the number of the step grows by one, and the action is shown at the next one."""

    def predict(s_x: Tensor, actions: Tensor) -> Tensor:
        k = actions.shape[1]
        return torch.stack([s_x[:, 0], s_x[:, 1] + k, 10 + actions[:, -1]], dim=1).float()

    monkeypatch.setattr("jepakit.diagnostics.probes.regression.MOST_UPDATES", 10)  # nothing here is read by the MLP
    found = knowledge(play_diary(60), seed=0, predict=predict)
    ahead = found["ahead"]
    assert min(found["r2"]["linear"].values()) > 0.999
    assert ahead["k"] == [1, 2, 4, 8, 16]
    for name in ("episode", "steps", "action"):
        assert ahead["predicted"][name] == pytest.approx(ahead["encoded"][name])
    assert ahead["predicted"]["steps"][0] > 0.999
    assert ahead["copied"]["episode"][1] > 0.999  # it never changes
    assert ahead["copied"]["steps"][1] < 0.5
    assert ahead["predicted"]["mean"][3:] == [None, None]  # no episode lasts 8 steps


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"angle": "steep"}, "`angle` must be a finite number; it is 'steep'"),
        ({"angle": float("nan")}, "`angle` must be a finite number"),
        ({}, "must name its numbers"),
        ({"mean": 1.0}, "other than `mean`"),
        (3.0, "must be a mapping, .*; it is a float: 3.0"),
        ([0.5], "it is a list"),
    ],
)
def test_a_state_function_that_returns_something_else_is_an_error(diary: None, state: Any, told: str) -> None:
    env = GymEnv(0, id="Diary-v0", num_envs=1, size=None)
    with pytest.raises(UserError, match=told):
        play(env, env.rand_action, drawn, 1, lambda _: state)


def test_a_state_whose_names_change_is_an_error(diary: None) -> None:
    env = GymEnv(0, id="Diary-v0", num_envs=1, size=None)
    with pytest.raises(UserError, match="same names at every step; at times it lacks `late`"):
        play(env, env.rand_action, drawn, 1, lambda diary: {"steps": 1.0} | ({"late": 1.0} if diary.steps > 1 else {}))


def test_an_episode_that_does_not_end_is_an_error(diary: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 3)
    env = GymEnv(0, id="Diary-v0", num_envs=1, size=None, max_episode_steps=4)
    with pytest.raises(UserError, match="an episode has not ended after 3 env steps"):
        play(env, env.rand_action, drawn, 1, read)


def test_an_env_without_a_state_is_an_error_that_says_what_to_write(diary: None) -> None:
    env = GymEnv(0, id="Diary-v0", num_envs=1, size=None)
    with pytest.raises(UserError, match=r"`Diary` is not known: read it by a function, `jepakit probe --state"):
        play(env, env.rand_action, drawn, 1)

    class Other(EnvBase):
        def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
            return self.observation_spec.zero()

        def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
            raise NotImplementedError

        def _set_seed(self, seed: int | None) -> None: ...

    with pytest.raises(UserError, match="`Other` tells no true state: give its class a method `true_state`"):
        play(Other(batch_size=[1]), env.rand_action, drawn, 1)

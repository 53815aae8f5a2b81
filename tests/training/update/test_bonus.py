"""The bonus for surprise: its scale, where it goes, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDict
from torch import Tensor, nn

from benchmarks.resume import differences
from jepakit.components.envs.gym import GymEnv
from jepakit.machine.hardware import Hardware
from jepakit.protocols import BONUS, PIXELS, REWARD
from jepakit.recipe import load_recipe, recipe_id
from jepakit.recipe.errors import RecipeError
from jepakit.training.build import build_learner
from jepakit.training.rehearsal import rehearse
from jepakit.training.run import resume, run
from jepakit.training.update.bonus import Bonus, ReturnScale
from tests.training.test_resume import cut_off

SMALL = """
name: curious
total_steps: 160
env: {kind: gym, id: CartPole-v1, num_envs: 2, size: [36, 40], frames: 2}
encoder: {kind: nature_cnn, dim: 8, scaling: normalized}
algorithm: {kind: ppo, rollout_steps: 20, epochs: 1, minibatch_size: 20}
checkpoint_every: 40
diagnostics: []
device: cpu
precision: fp32
threads: 1
"""
DQN = "algorithm={kind: dqn, rollout_steps: 20, minibatch_size: 8, learning_starts: 40, updates_per_step: 0.1, n_step: 3, gamma: 0.9}"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "curious.yaml"
    path.write_text(SMALL)
    return path


def slow_scale(rounds: list[tuple[np.ndarray, np.ndarray]], gamma: float, episodic: bool, memory: float = np.inf) -> float:
    """The standard deviation of all discounted returns, from a list of them all, each with its weight."""
    returns, seen, weights = np.zeros(rounds[0][0].shape[0]), [], []
    for i, (surprise, done) in enumerate(rounds):
        later = sum(other.size for other, _ in rounds[i + 1 :])
        weights += [np.exp(-later / memory)] * surprise.size
        for n in range(len(returns)):
            for t in range(surprise.shape[1]):
                returns[n] = gamma * returns[n] + surprise[n, t]
                seen.append(returns[n])
                if episodic and done[n, t]:
                    returns[n] = 0.0
    mean = np.average(seen, weights=weights)
    return float(np.sqrt(np.average((np.array(seen) - mean) ** 2, weights=weights)))


@settings(max_examples=30)
@given(
    envs=st.integers(1, 3),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    gamma=st.sampled_from([0.0, 0.5, 0.99]),
    episodic=st.booleans(),
    memory=st.sampled_from([None, 3, 20]),
    seed=st.integers(0, 99),
)
def test_the_scale_is_the_deviation_of_all_discounted_returns(
    envs: int, lengths: list[int], gamma: float, episodic: bool, memory: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rounds = [(rng.exponential(size=(envs, steps)).astype(np.float32), rng.random((envs, steps)) < 0.3) for steps in lengths]
    scale = ReturnScale(envs, gamma, episodic, memory)
    for i, (surprise, done) in enumerate(rounds):
        found = scale.update(torch.from_numpy(surprise), torch.from_numpy(done))
        assert found == pytest.approx(slow_scale(rounds[: i + 1], gamma, episodic, memory or np.inf), abs=1e-9)


class Newest:
    """As surprised as the frame after the step is bright."""

    def surprise(self, pixels_next: Tensor) -> Tensor:
        return pixels_next[:, -1].float().flatten(1).mean(dim=-1)


def a_batch() -> TensorDict:
    """2 envs, 3 steps."""
    shown = torch.arange(6, dtype=torch.uint8).view(2, 3, 1, 1, 1, 1)
    done = torch.tensor([[False, True, False], [False, False, False]]).unsqueeze(-1)
    after = TensorDict({PIXELS: shown + 1, REWARD: torch.full((2, 3, 1), 2.0), "done": done}, [2, 3])
    return TensorDict({PIXELS: shown, "action": torch.zeros(2, 3, dtype=torch.int64), "next": after}, [2, 3])


def a_bonus(curiosity: Any, weight: float) -> Bonus:
    return Bonus("odd", curiosity, weight, ReturnScale(2, 0.9, False), None)


def test_the_bonus_stands_beside_the_reward_which_stays() -> None:
    batch = a_batch()
    rewarded, figures = a_bonus(Newest(), 0.5).rewarded(batch, nn.ModuleList())
    surprise = np.arange(1.0, 7.0).reshape(2, 3)
    deviation = slow_scale([(surprise, np.zeros((2, 3)))], 0.9, False)
    np.testing.assert_allclose(rewarded["next", BONUS].squeeze(-1), 0.5 * surprise / deviation, rtol=1e-6)
    assert (rewarded["next", REWARD] == 2).all()
    assert BONUS not in batch["next"]
    added = 0.5 * surprise.sum() / deviation
    expected = {"bonus": added / 6, "share": added / (added + 12), "surprise": 3.5, "scale": deviation}
    assert figures == pytest.approx({f"curiosity/{name}": figure for name, figure in expected.items()}, rel=1e-6)


class Nothing:
    def surprise(self, action: Tensor) -> Tensor:
        return torch.zeros(len(action))


class Wild:
    def surprise(self, action: Tensor) -> Tensor:
        return torch.full((len(action),), torch.inf)


def test_where_nothing_ever_surprises_there_is_no_bonus() -> None:
    rewarded, figures = a_bonus(Nothing(), 1.0).rewarded(a_batch(), nn.ModuleList())
    assert not rewarded["next", BONUS].any()
    assert figures["curiosity/share"] == 0


def test_a_surprise_that_is_not_finite_ends_the_run_with_its_name() -> None:
    with pytest.raises(FloatingPointError, match="curiosity `odd` is not finite"):
        a_bonus(Wild(), 1.0).rewarded(a_batch(), nn.ModuleList())


def made(recipe: Path, *overrides: str) -> tuple[Any, GymEnv]:
    loaded = load_recipe(recipe, overrides)
    fields = loaded.env.model_dump(exclude={"kind"})
    env = GymEnv(0, **{**fields, "size": tuple(fields["size"])})
    return build_learner(loaded, env, Hardware("cpu", "fp32", threads=1)), env


def played(learner: Any, env: GymEnv, steps: int = 20) -> Any:
    """A batch [N, T] of the learner's own policy."""
    from torchrl.collectors import Collector

    from jepakit.training.policy import Policy

    total = steps * env.batch_size[0]
    collector = Collector(env, Policy(learner), frames_per_batch=total, total_frames=total, auto_register_policy_transforms=False)
    (batch,) = collector
    collector.shutdown()
    return batch


def test_ppo_learns_from_the_sum_and_windows_show_the_tasks_reward(recipe: Path) -> None:
    learner, env = made(recipe, "curiosity={kind: jepa, weight: 2.0}")
    batch = played(learner, env)
    learner.experience.extend(batch.copy())
    alone = learner.experience.rollout["value_target"].clone()
    rewarded, _ = learner.curiosity.rewarded(batch, learner.parts)
    learner.experience.extend(rewarded)
    curious = learner.experience.rollout["value_target"].clone()
    summed = batch.copy()
    summed["next", REWARD] = batch["next", REWARD] + rewarded["next", BONUS]
    learner.experience.extend(summed)
    assert not torch.allclose(alone, curious)
    assert torch.equal(learner.experience.rollout["value_target"], curious)
    learner.experience.extend(learner.curiosity.rewarded(batch, learner.parts)[0])
    assert (learner.experience.sample().window[REWARD] == 1).all()  # Cart Pole's


def test_replay_keeps_the_bonus_of_its_time_and_adds_it_to_n_step_returns(recipe: Path) -> None:
    learner, env = made(recipe, DQN, "curiosity={kind: jepa, weight: 2.0}")
    batch, _ = learner.curiosity.rewarded(played(learner, env), learner.parts)
    replay = learner.experience
    replay.extend(batch)
    for n, t in ((0, 0), (1, 3), (0, 18), (1, 19)):
        expected, discount = 0.0, 1.0
        for step in range(t, min(t + 3, 20)):
            expected += discount * (batch["next", REWARD] + batch["next", BONUS])[n, step].item()
            discount *= 0.9
            if batch["next", "done"][n, step]:
                break
        minibatch = replay.at(torch.tensor([t * 2 + n]))
        assert minibatch.steps["next", REWARD].item() == pytest.approx(expected, rel=1e-5)
        assert minibatch.window[REWARD][0, 0] == 1


def test_the_distance_is_that_of_l_jepa(recipe: Path) -> None:
    learner, env = made(recipe, "curiosity={kind: jepa}", "jepa.horizon=1")
    batch = played(learner, env, steps=10)
    with torch.no_grad():
        s_x = learner.encoder(batch[PIXELS].flatten(0, 1))
        s_y_hat = learner.jepa.predictor(s_x, batch["action"].flatten())
        s_y = learner.jepa.target(batch["next", PIXELS].flatten(0, 1))
    expected = (s_y_hat - s_y).square().sum(dim=-1).mean().item()
    assert learner.curiosity.rewarded(batch, learner.parts)[1]["curiosity/surprise"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["icm", "rnd"])
def test_its_loss_trains_the_curiosity_and_nothing_else(recipe: Path, kind: str) -> None:
    learner, env = made(recipe, f"curiosity={{kind: {kind}}}")
    learner.experience.extend(learner.curiosity.rewarded(played(learner, env), learner.parts)[0])
    terms, _ = learner.losses(learner.experience.sample())
    named = {name: parameter for name, parameter in learner.trained.named_parameters() if parameter.requires_grad}
    found = torch.autograd.grad(terms["curiosity"].loss, [*named.values()], retain_graph=True, allow_unused=True)
    reached = {name for name, gradient in zip(named, found, strict=True) if gradient is not None}
    assert reached == {name for name in named if name.startswith("curiosity.")}
    apart = {id(parameter) for parameter in learner.aside}
    assert apart == {id(named[name]) for name in reached}
    assert not apart & {id(parameter) for parameter in learner.parameters}


def test_curiosity_leaves_the_other_parts_and_the_first_rollout_as_they_are(recipe: Path) -> None:
    (plain, env), (curious, other) = made(recipe), made(recipe, "curiosity={kind: rnd}")
    mine, theirs = dict(plain.trained.named_parameters()), dict(curious.trained.named_parameters())
    assert all(torch.equal(parameter, theirs[name]) for name, parameter in mine.items())
    torch.manual_seed(1)
    first = played(plain, env)
    torch.manual_seed(1)
    second = played(curious, other)
    state = torch.get_rng_state()
    curious.curiosity.rewarded(second, curious.parts)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first["action"], second["action"])


def test_a_recipe_without_curiosity_keeps_its_id(recipe: Path) -> None:
    assert recipe_id(load_recipe(recipe, ["curiosity=null"])) == recipe_id(load_recipe(recipe))
    assert recipe_id(load_recipe(recipe, ["curiosity={kind: rnd}"])) != recipe_id(load_recipe(recipe))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["curiosity={kind: jepa}", "jepa=null"], "needs `distance`"),
        (["curiosity={kind: jepa}", "jepa.y=same"], "needs `distance`"),
        (["curiosity={kind: jepa}", "jepa.objective={kind: infonce}"], "compares each step with all others"),
        (["curiosity={kind: rnd}", "env.size=[20, 30]", "encoder={kind: vit, patch: 10, dim: 8, heads: 2}"], "too small for rnd"),
    ],
)
def test_a_curiosity_that_does_not_fit_is_an_error_in_the_recipe(recipe: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        made(recipe, *overrides)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("kind", "algorithm"), [("rnd", ()), ("jepa", (DQN,))])
def test_a_curious_run_resumes_bit_for_bit(recipe: Path, tmp_path: Path, kind: str, algorithm: tuple[str, ...]) -> None:
    overrides = (*algorithm, f"curiosity={{kind: {kind}, episodic: true, memory: 100}}")
    run(recipe, overrides=overrides, out=tmp_path / "whole", quiet=True)
    cut_off(recipe, tmp_path / "cut", at=120, overrides=overrides)
    resume(tmp_path / "cut", quiet=True)
    assert differences(tmp_path / "whole", tmp_path / "cut") == []
    whole = records(tmp_path / "whole")
    trained = [each for each in whole if each["phase"] == "train"]
    assert all(0 < each["curiosity/share"] < 1 for each in trained)
    episodes = [each for each in whole if each["phase"] == "episode"]
    assert episodes
    assert all(each["episode_return"] == each["episode_length"] for each in episodes)  # the task's return


def test_a_rehearsal_names_the_curiosity_that_breaks(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jepakit.components.curiosities.rnd import RND

    monkeypatch.setattr(RND, "surprise", lambda self, pixels_next: pixels_next.float().mean())
    loaded = load_recipe(recipe, ["curiosity={kind: rnd}"])
    _, env = made(recipe)
    with pytest.raises(RecipeError, match=r"curiosity's surprise returned \[\]"):
        rehearse(loaded, env, Hardware("cpu", "fp32", threads=1))

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.collectors import Collector

from jepakit.components.envs.gym import GymEnv
from jepakit.protocols import ACTION, MASK, PIXELS, REWARD, Experience, FrameShape, Minibatch
from jepakit.recipe.schema import Replay as Settings
from jepakit.training.experience.replay import Replay


@dataclass
class OffPolicy:
    """The part of an algorithm that replay needs."""

    n_step: int = 1
    gamma: float = 0.9
    minibatch_size: int = 8
    learning_starts: int = 0
    updates_per_step: float = 1.0


@dataclass
class Step:
    stack: Tensor  #: [K, C, H, W]
    reward: float
    after: Tensor  #: the true next stack
    terminated: bool
    done: bool
    frames: list[int]  #: the stack's frames, numbered over all that its env ever showed


class World:
    """Envs with random frames that keep every stack they ever showed. An action encodes its own address: 10,000 · env + step."""

    def __init__(
        self, shape: FrameShape, num_envs: int, end: float, seed: int, dtype: torch.dtype = torch.uint8, opening: str = "repeat"
    ) -> None:
        self.shape, self.num_envs, self.end, self.dtype, self.opening = shape, num_envs, end, dtype, opening
        self.rng = np.random.default_rng(seed)
        self.past: list[list[Step]] = [[] for _ in range(num_envs)]
        self.shown = [0] * num_envs
        opened = [self.open(env) for env in range(num_envs)]
        self.stacks, self.frames = [stack for stack, _ in opened], [numbers for _, numbers in opened]

    def frame(self, env: int) -> tuple[Tensor, int]:
        self.shown[env] += 1
        return torch.from_numpy(self.rng.integers(0, 256, self.shape[1:])).to(self.dtype), self.shown[env] - 1

    def open(self, env: int) -> tuple[list[Tensor], list[int]]:
        if self.opening == "repeat":
            frame, number = self.frame(env)
            return [frame] * self.shape.frames, [number] * self.shape.frames
        frames, numbers = zip(*[self.frame(env) for _ in range(self.shape.frames)], strict=True)  # a stack of frames never seen before
        return list(frames), list(numbers)

    def step(self, env: int) -> None:
        stack, numbers = self.stacks[env], self.frames[env]
        frame, number = self.frame(env)
        after = [*stack[1:], frame]
        terminated, truncated = (self.rng.random(2) < self.end).tolist()
        done = terminated or truncated
        self.past[env].append(Step(torch.stack(stack), float(self.rng.normal()), torch.stack(after), terminated, done, numbers))
        self.stacks[env], self.frames[env] = self.open(env) if done else (after, [*numbers[1:], number])

    def collect(self, steps: int) -> TensorDictBase:
        for env in range(self.num_envs):
            for _ in range(steps):
                self.step(env)

        def gather(field: str) -> Tensor:
            rows = [[torch.as_tensor(getattr(step, field)) for step in past[-steps:]] for past in self.past]
            return torch.stack([torch.stack(row) for row in rows])

        ends = {name: gather(name)[..., None] for name in ("terminated", "done")}
        taken = torch.arange(len(self.past[0]) - steps, len(self.past[0]))
        action = 10_000 * torch.arange(self.num_envs)[:, None] + taken
        following = {PIXELS: gather("after"), "reward": gather("reward")[..., None], **ends}
        return TensorDict({PIXELS: gather("stack"), ACTION: action, "next": following}, batch_size=action.shape)

    def kept(self, replay: Replay) -> set[int]:
        """The actions of the steps that can be drawn: the newest steps, if all frames of their stacks are among the newest frames."""
        kept = set()
        for env, past in enumerate(self.past):
            # frames that open an episode after the newest step are not yet stored
            unseen = len(set(self.frames[env])) if past[-1].done else 0
            for number, step in enumerate(past):
                if number >= len(past) - replay.rows and min(step.frames) >= self.shown[env] - unseen - replay.slots:
                    kept.add(10_000 * env + number)
        return kept


def check(minibatch: Minibatch, world: World, horizon: int, n_step: int, gamma: float) -> None:
    """Assert that each window and n-step return matches a slow loop over the world's own records."""
    window, steps = minibatch.window.to_dict(), minibatch.steps.to_dict()
    assert minibatch.window.shape == (*minibatch.steps.shape, horizon + 1)
    for b, address in enumerate(steps[ACTION].tolist()):
        past, start = world.past[address // 10_000], address % 10_000
        here, mask = past[start].stack, []
        for h in range(horizon + 1):
            reached = h == 0 or (start + h - 1 < len(past) and not any(step.done for step in past[start : start + h - 1]))
            mask.append(reached)
            if reached:
                here = past[start].stack if h == 0 else past[start + h - 1].after
            assert torch.equal(window[PIXELS][b, h], here)  # after the end, the last stack is repeated
            if reached and start + h < len(past) and not (h and past[start + h - 1].done):
                assert window[ACTION][b, h] == address + h
                assert window[REWARD][b, h].item() == pytest.approx(past[start + h].reward)
                assert window["terminated"][b, h] == past[start + h].terminated
        assert window[MASK][b].tolist() == mask
        assert mask[:2] == [True, True]

        value, count = 0.0, 0
        while count < n_step and start + count < len(past) and not (count and past[start + count - 1].done):
            value += gamma**count * past[start + count].reward
            count += 1
        last = past[start + count - 1]
        assert steps["steps_to_next_obs"][b].tolist() == [count]
        assert steps["next"][REWARD][b].tolist() == [pytest.approx(value, rel=1e-5, abs=1e-5)]
        assert torch.equal(steps["next"][PIXELS][b], last.after)
        assert steps["next"]["terminated"][b].tolist() == [last.terminated]
        assert steps["next"]["done"][b].tolist() == [last.done]


def every(replay: Replay) -> tuple[Minibatch, set[int]]:
    """A minibatch of every step that can be drawn, each once, and the set of their actions."""
    rows = torch.arange(len(replay.storage))
    minibatch = replay.at(rows[~replay._lost(rows)])
    return minibatch, set(minibatch.steps[ACTION].tolist())


worlds = st.builds(
    World,
    st.builds(FrameShape, st.sampled_from([3, 4, 2, 1]), st.integers(1, 2), st.just(2), st.integers(1, 3)),
    num_envs=st.integers(1, 3),
    end=st.sampled_from([0.3, 0.1, 0.8, 0.0]),
    seed=st.integers(0, 999),
    dtype=st.sampled_from([torch.uint8, torch.float32]),
    opening=st.sampled_from(["repeat", "repeat", "fresh"]),
)


@settings(max_examples=40)
@given(
    world=worlds,
    horizon=st.integers(1, 4),
    n_step=st.integers(1, 5),
    capacity=st.integers(3, 60),
    batches=st.lists(st.one_of(st.integers(2, 6), st.integers(1, 30)), min_size=4, max_size=8),
    sampler=st.sampled_from(["uniform", "prioritized"]),
)
def test_samples_match_what_the_agent_saw_when_acting(
    world: World, horizon: int, n_step: int, capacity: int, batches: list[int], sampler: Any
) -> None:
    """Also when the rings wrap several times, when batches or episodes exceed the rings, and with many episodes in a batch."""
    settings = Settings(capacity=capacity, sampler=sampler)
    replay = Replay(OffPolicy(n_step, minibatch_size=9), horizon, world.shape, world.num_envs, settings, dtype=world.dtype)
    for steps in batches:
        replay.extend(world.collect(steps))
        minibatch, actions = every(replay)
        assert actions == world.kept(replay)
        drawn = replay.sample()
        assert set(drawn.steps[ACTION].tolist()) <= actions
        check(drawn, world, horizon, n_step, gamma=0.9)
    check(minibatch, world, horizon, n_step, gamma=0.9)
    assert drawn.window[PIXELS].dtype == world.dtype
    assert drawn.window[REWARD].shape == (9, horizon + 1, 1)


def test_stacks_match_those_of_a_collector() -> None:
    """TorchRL's collector runs an env that draws its episode, its step and 10 + the action that led there."""
    env = GymEnv(0, id="Diary-v0", num_envs=3, frames=3, size=None, max_episode_steps=4)
    collector = Collector(env, frames_per_batch=3 * 7, total_frames=3 * 7 * 12, auto_register_policy_transforms=False)
    replay = Replay(OffPolicy(n_step=3), 2, env.frame_shape, 3, Settings(capacity=60))
    for batch in collector:
        replay.extend(batch)
    collector.shutdown()
    window, steps = every(replay)[0]

    episode, age, led_by = (window[PIXELS][..., 0, row, 0].long() for row in (0, 2, 4))  # [B, H+1, K], newest frame last
    assert len(steps) > 40
    assert (age[:, 0, -1] == 0).any()
    assert (age[:, 0] == (age[:, 0, -1:] + torch.tensor([-2, -1, 0])).clamp(min=0)).all()  # the first frame is repeated
    for h in (1, 2):
        reached = window[MASK][:, h]
        assert (led_by[:, h, -1] - 10)[reached].tolist() == window[ACTION][:, h - 1][reached].tolist()
        assert (age[:, h, -1] == age[:, 0, -1] + h)[reached].all()
        assert (episode[:, h] == episode[:, 0, -1:])[reached].all()
    count = steps["steps_to_next_obs"].squeeze(-1)
    assert (steps["next", PIXELS][:, -1, 0, 2, 0] == age[:, 0, -1] + count).all()
    assert (steps["next", PIXELS][:, :, 0, 0, 0] == episode[:, 0, -1:]).all()
    assert set(count.tolist()) == {1, 2, 3}


def test_the_capacity_covers_all_envs_and_short_episodes_reduce_it() -> None:
    shape = FrameShape(3, 1, 1, 1)
    for end, least, most in ((0.0, 100, 100), (0.02, 100, 100), (1.0, 50, 60)):
        world = World(shape, num_envs=2, end=end, seed=0)
        replay = Replay(OffPolicy(), 1, shape, 2, Settings(capacity=101))
        for _ in range(10):
            replay.extend(world.collect(20))
        assert least <= len(every(replay)[1]) <= most
    for capacity in (1, 16, 40):
        world = World(shape, num_envs=1, end=0.0, seed=0)
        replay = Replay(OffPolicy(), 1, shape, 1, Settings(capacity=capacity))
        for step in range(100):
            world.end = float(step % 16 == 5)
            replay.extend(world.collect(1))
            if step % 7 == 1:
                assert len(every(replay)[1]) == min(capacity, step + 1)
    with pytest.raises(ValueError, match=r"^capacity 3 "):
        Replay(OffPolicy(), 1, shape, 4, Settings(capacity=3))


def count_draws(replay: Replay, draws: int) -> tuple[np.ndarray, list[int]]:
    """How often each action that can be drawn was drawn, and these actions."""
    kept = sorted(every(replay)[1])
    place = {action: number for number, action in enumerate(kept)}
    counts = np.zeros(len(kept))
    replay.algorithm.minibatch_size = draws
    for action in replay.sample().steps[ACTION].tolist():
        counts[place[action]] += 1
    return counts, kept


@pytest.mark.parametrize("steps", [10, 70])
@pytest.mark.parametrize("end", [0.0, 0.4])
def test_uniform_sampling_draws_every_step_equally_often(steps: int, end: float) -> None:
    torch.manual_seed(0)
    shape = FrameShape(3, 1, 1, 1)
    world = World(shape, num_envs=2, end=end, seed=1)
    replay = Replay(OffPolicy(), 1, shape, 2, Settings(capacity=60))
    replay.extend(world.collect(steps))
    counts, kept = count_draws(replay, 20_000)
    assert len(kept) == (2 * steps if steps == 10 else 60 if end == 0 else len(kept))
    if end and steps == 70:
        assert len(kept) < 60  # some have lost their frames
    assert stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize("end", [0.0, 0.4])
def test_prioritised_sampling_follows_the_td_error_and_weights_correct_it(end: float) -> None:
    torch.manual_seed(0)
    alpha, beta, shape = 0.7, 0.4, FrameShape(3, 1, 1, 1)
    world = World(shape, num_envs=2, end=end, seed=2)
    replay = Replay(OffPolicy(), 1, shape, 2, Settings(capacity=40, sampler="prioritized", alpha=alpha, beta=beta))
    replay.extend(world.collect(35))
    minibatch, kept = every(replay)
    errors = torch.linspace(-2, 3, len(kept))  # one of them is nearly zero
    minibatch.steps["td_error"] = errors[:, None]
    replay.learned(minibatch)

    error_of = dict(zip(minibatch.steps[ACTION].tolist(), errors.tolist(), strict=True))
    chance = np.array([(abs(error_of[action]) + 1e-6) ** alpha for action in sorted(kept)])
    chance /= chance.sum()
    counts, _ = count_draws(replay, 20_000)
    assert stats.chisquare(counts, chance * counts.sum()).pvalue > 0.01

    for progress, exponent in ((None, 0.4), (0.5, 0.7), (1.0, 1.0)):
        if progress is not None:
            replay.anneal(progress)
        replay.algorithm.minibatch_size = 64
        drawn = replay.sample().steps
        chances = np.array([chance[sorted(kept).index(action)] for action in drawn[ACTION].tolist()])
        weights = (len(kept) * chances) ** -exponent
        assert drawn["priority_weight"].shape == (64,)
        assert drawn["priority_weight"].numpy() == pytest.approx(weights / weights.max(), rel=1e-4)


def test_new_steps_get_the_largest_priority_so_far() -> None:
    torch.manual_seed(0)
    shape = FrameShape(2, 1, 1, 1)
    world = World(shape, num_envs=1, end=0.1, seed=0)
    replay = Replay(OffPolicy(), 1, shape, 1, Settings(capacity=400, sampler="prioritized", alpha=1.0))
    replay.extend(world.collect(10))
    for error in (5.0, 0.05):  # the largest priority so far, not the largest stored now
        minibatch = replay.at(torch.arange(10))
        minibatch.steps["td_error"] = torch.full((10,), error)
        replay.learned(minibatch)
    replay.extend(world.collect(10))
    counts, _ = count_draws(replay, 20_000)
    assert counts[:10].sum() / counts[10:].sum() == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("sampler", ["uniform", "prioritized"])
def test_sampling_uses_only_torchs_generator(sampler: Any) -> None:
    shape = FrameShape(2, 1, 1, 1)
    replay = Replay(OffPolicy(minibatch_size=30), 1, shape, 2, Settings(capacity=50, sampler=sampler))
    replay.extend(World(shape, num_envs=2, end=0.2, seed=0).collect(25))

    def draw(seed: int, numpy_seed: int) -> list[int]:
        torch.manual_seed(seed)
        np.random.seed(numpy_seed)
        return replay.sample().steps["index"].tolist()

    assert draw(0, 0) == draw(0, 1) != draw(1, 0)


def test_updates_follow_the_env_steps() -> None:
    shape = FrameShape(1, 1, 1, 1)
    world = World(shape, num_envs=2, end=0.1, seed=0)
    algorithm = OffPolicy(minibatch_size=5, learning_starts=10, updates_per_step=0.3)
    replay: Experience = Replay(algorithm, 1, shape, 2, Settings(capacity=30))
    given_out = []
    for _ in range(10):
        replay.extend(world.collect(4))
        minibatches = list(replay.minibatches())
        given_out.append(len(minibatches))
        assert all(len(minibatch.steps) == 5 for minibatch in minibatches)
        assert list(replay.minibatches()) == []
    assert given_out[0] == 0  # 8 steps, before learning starts
    assert given_out[1:] == [round(0.3 * (16 + 8 * k - 10)) - (round(0.3 * (8 + 8 * k - 10)) if k else 0) for k in range(9)]
    assert sum(given_out) == round(0.3 * (80 - 10))


@pytest.mark.parametrize("sampler", ["uniform", "prioritized"])
def test_a_new_process_continues_from_the_state_and_the_frames_file(tmp_path: Path, sampler: Any) -> None:
    shape = FrameShape(3, 1, 2, 2)
    world = World(shape, num_envs=2, end=0.2, seed=0)

    def make() -> Replay:
        algorithm, settings = OffPolicy(n_step=2, updates_per_step=0.3), Settings(capacity=30, sampler=sampler)
        return Replay(algorithm, 2, shape, 2, settings, folder=tmp_path / "replay")

    def go_on(replay: Replay) -> list[Minibatch]:
        torch.manual_seed(4)
        seen = []
        for batch in batches:
            replay.extend(batch)
            for minibatch in replay.minibatches():
                seen.append(minibatch)
                minibatch.steps["td_error"] = torch.randn(8)
                replay.learned(minibatch)
        return seen

    before = make()
    batches = [world.collect(steps) for steps in (9, 20, 4)]
    go_on(before)
    state = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    assert sum(tensor.nbytes for name, tensor in state.items()) < 50 * 30 + 200  # the state holds no frames
    frames = before.frames.clone()
    batches = [world.collect(5)]
    as_if_never_stopped = go_on(before)
    before.frames.copy_(frames)

    after = make()
    after.load_state_dict(state)
    resumed = go_on(after)
    assert len(resumed) == len(as_if_never_stopped) > 0
    for one, other in zip(resumed, as_if_never_stopped, strict=True):
        assert (one.window == other.window).all()
        assert (one.steps == other.steps).all()
    empty = make()
    empty.load_state_dict(make().state_dict())
    assert empty.steps == 0


@pytest.mark.parametrize("sampler", ["uniform", "prioritized"])
def test_the_reported_sizes_are_true_and_little_more_than_the_frames(sampler: Any) -> None:
    sizes = Replay(OffPolicy(), 1, FrameShape(3, 1, 84, 84), 8, Settings(sampler=sampler)).sizes
    assert sum(sizes.values()) < 1.08 * 100_000 * 84 * 84

    shape = FrameShape(3, 1, 2, 2)
    replay = Replay(OffPolicy(), 1, shape, 2, Settings(capacity=64, sampler=sampler))
    replay.extend(World(shape, num_envs=2, end=0.1, seed=0).collect(50))
    assert replay.sizes["frames"] == replay.frames.nbytes
    assert replay.sizes["steps"] == sum(tensor.nbytes for tensor in replay.storage.get(slice(None)).values())

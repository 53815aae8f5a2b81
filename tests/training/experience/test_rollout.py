from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from jepakit.protocols import ACTION, MASK, PIXELS, REWARD, S_Y, TERMINATED, Embed
from jepakit.training.experience.rollout import Rollout, window


def numbered_rollout(done: Tensor) -> TensorDictBase:
    """A rollout [N, T] whose stacks hold their address instead of images: (env, step, 0), or (env, step, 1) after the step."""
    num_envs, steps = done.shape
    env, step = torch.meshgrid(torch.arange(num_envs), torch.arange(steps), indexing="ij")
    here = torch.stack((env, step, torch.zeros_like(env)), dim=-1)
    after = torch.stack((env, step, torch.ones_like(env)), dim=-1)
    return TensorDict(
        {
            PIXELS: here[:, :, None, None, None].to(torch.uint8),
            ACTION: 100 * env + step,
            "advantage": (100.0 * env + step)[..., None],
            "next": {
                PIXELS: after[:, :, None, None, None].to(torch.uint8),
                "done": done[..., None],
                "terminated": (done & (step % 2 == 0))[..., None],
                "reward": (10.0 * env + step)[..., None],
            },
        },
        batch_size=[num_envs, steps],
    )


def slow_window(done: Tensor, env: int, start: int, horizon: int) -> tuple[list[tuple[int, int, int]], list[bool]]:
    """The addresses of the stacks at positions 0 to H, and whether each is reached within the episode and the rollout."""
    addresses, mask = [(env, start, 0)], [True]
    ended = False
    for step in range(start, start + horizon):
        reached = not ended and step < done.shape[1]
        addresses.append((env, step, 1))  # the true next stack, even at an episode's end
        mask.append(reached)
        ended = ended or (reached and bool(done[env, step]))
    return addresses, mask


dones = st.tuples(st.integers(1, 3), st.integers(1, 7), st.floats(0, 0.9), st.integers(0, 999)).map(
    lambda drawn: torch.rand(drawn[0], drawn[1], generator=torch.Generator().manual_seed(drawn[3])) < drawn[2]
)


@settings(max_examples=40)
@given(done=dones, horizon=st.integers(1, 4))
def test_windows_match_a_slow_loop(done: Tensor, horizon: int) -> None:
    rollout = numbered_rollout(done)
    starts = torch.randperm(done.numel())

    windows = window(rollout, starts, horizon)

    assert windows.shape == (done.numel(), horizon + 1)
    assert set(windows.keys()) == {PIXELS, ACTION, REWARD, TERMINATED, MASK}
    for b, flat in enumerate(starts.tolist()):
        env, start = divmod(flat, done.shape[1])
        addresses, mask = slow_window(done, env, start, horizon)
        assert windows[MASK][b].tolist() == mask
        assert mask[:2] == [True, True]
        assert windows[REWARD][b, 0] == 10 * env + start
        for h in range(horizon + 1):
            if mask[h]:
                assert tuple(windows[PIXELS][b, h].flatten().tolist()) == addresses[h]
            if h < horizon and mask[h + 1]:  # this action leads from position h to position h + 1
                assert windows[ACTION][b, h] == 100 * env + start + h
                assert windows[TERMINATED][b, h] == (done[env, start + h] and (start + h) % 2 == 0)


def test_windows_stay_on_the_rollouts_device() -> None:
    elsewhere = numbered_rollout(torch.zeros(2, 5, dtype=torch.bool)).to("meta")
    windows = window(elsewhere, torch.arange(4), horizon=2)
    assert {tensor.device.type for tensor in windows.values()} == {"meta"}


class OnPolicy:
    """The part of an algorithm that a rollout needs."""

    def __init__(self, epochs: int, minibatch_size: int | None) -> None:
        self.epochs, self.minibatch_size = epochs, minibatch_size

    def prepare(self, rollout: TensorDictBase, embed: Embed) -> TensorDictBase:
        return rollout


@settings(max_examples=25)
@given(num_envs=st.integers(1, 3), steps=st.integers(1, 9), epochs=st.integers(1, 3), minibatch_size=st.none() | st.integers(2, 12))
def test_every_step_starts_one_window_per_epoch(num_envs: int, steps: int, epochs: int, minibatch_size: int | None) -> None:
    experience = Rollout(OnPolicy(epochs, minibatch_size), horizon=1, embed=lambda pixels: pixels)
    experience.extend(numbered_rollout(torch.zeros(num_envs, steps, dtype=torch.bool)))

    minibatches = [minibatch.window[ACTION][:, 0] for minibatch in experience.minibatches()]

    total = num_envs * steps
    fitting = 1 if minibatch_size is None else max(1, total // minibatch_size)
    assert len(minibatches) == epochs * fitting
    everything = [100 * env + step for env in range(num_envs) for step in range(steps)]
    for epoch in range(epochs):
        in_epoch = torch.cat(minibatches[epoch * fitting : (epoch + 1) * fitting])
        assert sorted(in_epoch.tolist()) == everything
    sizes = {len(minibatch) for minibatch in minibatches}
    assert min(sizes) >= min(minibatch_size or total, total)
    assert max(sizes) - min(sizes) <= 1


def test_each_epoch_is_shuffled_differently_but_reproducibly() -> None:
    def order() -> list[list[int]]:
        torch.manual_seed(3)
        experience = Rollout(OnPolicy(epochs=2, minibatch_size=40), horizon=1, embed=lambda pixels: pixels)
        experience.extend(numbered_rollout(torch.zeros(2, 20, dtype=torch.bool)))
        return [minibatch.window[ACTION][:, 0].tolist() for minibatch in experience.minibatches()]

    first, second = order()
    assert first != second != sorted(second)
    assert order() == [first, second]


def test_a_window_has_the_target_embedding_of_each_stack_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepakit.training.experience.rollout.CHUNK", 4)
    done = torch.zeros(3, 5, dtype=torch.bool)
    done[1, 2] = True
    address = lambda stacks: stacks.flatten(2).float()  # noqa: E731 - [B, 1, K, C, H, W] -> [B, 1, 3]
    experience = Rollout(OnPolicy(epochs=1, minibatch_size=2), horizon=2, embed=address, target=address)
    experience.extend(numbered_rollout(done))

    for window_, _ in experience.minibatches():
        follows = window_[PIXELS][:, 1:].flatten(2).float()  # [B, 2, 3]
        inside = window_[MASK][:, 1:]
        assert torch.equal(window_[S_Y][:, :-1][inside], follows[inside])


def test_a_new_batch_replaces_the_previous_one() -> None:
    experience = Rollout(OnPolicy(epochs=1, minibatch_size=2), horizon=1, embed=lambda pixels: pixels)
    for steps in (8, 4):
        experience.extend(numbered_rollout(torch.zeros(1, steps, dtype=torch.bool)))
    assert sum(len(minibatch.window) for minibatch in experience.minibatches()) == 4


@pytest.mark.parametrize("horizon", [1, 3])
def test_each_action_in_a_window_leads_from_its_stack_to_the_next(make_learner: Any, collect: Any, horizon: int) -> None:
    """TorchRL's collector runs an env that draws its episode, its step and 10 + the action that led there."""
    batch = collect(make_learner())
    windows = window(batch, torch.arange(batch.numel()), horizon)
    mask = windows[MASK]
    episode, step, led_by = (windows[PIXELS][..., 0, row, 0].long() for row in (0, 2, 4))  # [B, H+1, K], newest frame last
    done = batch["next", "done"].flatten()
    assert done.any()
    assert not done.all()
    for h in range(horizon):
        reached = mask[:, h + 1]
        assert (led_by[:, h + 1, -1] - 10)[reached].tolist() == windows[ACTION][:, h][reached].tolist()
        assert (step[:, h + 1, -1] == step[:, h, -1] + 1)[reached].all()
        assert (episode[:, h + 1] == episode[:, h])[reached].all()  # all K frames: none belongs to the next episode
        overlap = windows[PIXELS][:, h + 1, :-1] == windows[PIXELS][:, h, 1:]  # y = (f[t-1], f[t], f[t+1]), x = (f[t-2], f[t-1], f[t])
        assert overlap[reached].all()
    first = step[:, 0, -1] == 0
    assert first.any()
    assert (step[first, 0] == 0).all()  # an episode's first frame is repeated
    if horizon > 1:
        assert not mask[done, 2].any()  # nothing after an episode's end

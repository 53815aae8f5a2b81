"""The peers' frames are those that jepakit's agent sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from benchmarks.peers.frames import Frames
from jepakit.components.envs.gym import GymEnv
from jepakit.protocols import ACTION, PIXELS


@pytest.mark.parametrize("drawing", ["jepakit", "gymnasium"])
@pytest.mark.parametrize("size", [(40, 60), (84, 84)])
def test_peers_see_the_frames_that_jepakit_sees(size: tuple[int, int], drawing: str) -> None:
    ours = GymEnv(0, id="CartPole-v1", num_envs=1, frames=3, size=size)
    now, theirs = ours.reset(), Frames(*size, drawing)
    seed = int(np.random.SeedSequence(0).generate_state(1)[0])
    stack, _ = theirs.reset(seed=seed)
    seen = [stack]
    for step in range(60):
        assert np.array_equal(now[PIXELS][0, :, 0].numpy(), stack), step
        action = step % 3 // 2
        step_taken, now = ours.step_and_maybe_reset(TensorDict({ACTION: torch.tensor([action])}, batch_size=[1]))
        stack, reward, terminated, truncated, _ = theirs.step(action)
        assert np.array_equal(step_taken["next", PIXELS][0, :, 0].numpy(), stack), step
        assert step_taken["next", "done"].item() == (terminated or truncated)
        assert reward == step_taken["next", "reward"].item()
        if terminated or truncated:
            stack, _ = theirs.reset()
        seen.append(stack)
    assert len({each.tobytes() for each in seen}) > 30  # the pole moves

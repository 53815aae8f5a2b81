"""What a report shows of a playing agent is what its encoder gives, and looking changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import jepakit
from jepakit.agent import observe as module
from jepakit.agent.observe import observe
from jepakit.errors import UserError


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = {"total_steps": 50, "env.num_envs": 2, "threads": 1, "algorithm.rollout_steps": 25, "algorithm.minibatch_size": 25}
    return jepakit.run("cartpole_pixels", overrides=small, out=tmp_path_factory.mktemp("run") / "mine", quiet=True).path


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 60)
    monkeypatch.setattr(module, "AHEAD", 10)


def test_embeddings_belong_to_their_states_and_frames_to_their_attention(trained: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    seen = observe(trained, count=40)
    assert torch.equal(torch.rand(3), expected)  # the generators are as before
    assert seen.embeddings.shape == (40, 64)
    assert list(seen.values) == ["position", "velocity", "angle", "angular velocity", "rewards of the next 10 steps"]
    assert {values.shape for values in seen.values.values()} == {(40,)}
    assert abs(seen.values["angle"]).max() < 0.3
    assert set(seen.values["rewards of the next 10 steps"]) <= set(range(1, 11))
    assert seen.frames.shape == (3, 3, 1, 40, 60)
    assert seen.attention is not None
    assert seen.attention.shape == (3, 1, 2, 3)
    encoder = jepakit.load_encoder(trained)
    assert np.allclose(seen.attention, encoder.attention(torch.from_numpy(seen.frames)).detach(), atol=1e-6)
    again = observe(trained, count=40)
    assert np.array_equal(again.embeddings, seen.embeddings)
    # the same state at the start of an episode, the same picture: an embedding is of its own state
    order = np.argsort(seen.values["angle"])
    near, far = seen.embeddings[order[0]] - seen.embeddings[order[1]], seen.embeddings[order[0]] - seen.embeddings[order[-1]]
    assert np.linalg.norm(near) < np.linalg.norm(far)


def test_rewards_ahead_end_with_their_episode() -> None:
    rewards = torch.arange(1.0, 31.0)[:, None].double()
    over = torch.zeros(30, 1, dtype=torch.bool)
    over[[4, 17]] = True
    found = module._ahead(rewards, over).flatten().tolist()
    for t, value in enumerate(found):
        end = next((at for at in (4, 17) if t <= at < t + 10), t + 9)
        assert value == sum(range(t + 1, end + 2))
    assert len(found) == 20


def test_an_env_without_state_is_seen_by_its_rewards(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise UserError("unknown")

    monkeypatch.setattr(module, "states", unknown)
    assert list(observe(trained, count=5).values) == ["rewards of the next 10 steps"]

"""A replay refuses a state that no replay can have saved."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from jepakit.protocols import FrameShape
from jepakit.recipe.schema import Replay as Settings
from jepakit.training.experience.replay import Replay

ALGORITHM: Any = SimpleNamespace(n_step=1, gamma=0.9, minibatch_size=4, learning_starts=0, updates_per_step=1.0)


def make() -> Replay:
    return Replay(ALGORITHM, 1, FrameShape(2, 1, 1, 1), 2, Settings(capacity=8, sampler="prioritized"))


@pytest.fixture
def state() -> dict[str, Tensor]:
    """The state of a replay whose ring of 4 steps for each of 2 envs has wrapped."""
    replay = make()
    for begin in range(0, 6, 2):
        shown = torch.arange(begin, begin + 4, dtype=torch.uint8)
        stacks = torch.stack((shown[:-1], shown[1:]), dim=1).view(1, 3, 2, 1, 1, 1).expand(2, 3, 2, 1, 1, 1)
        done = torch.zeros(2, 2, 1, dtype=torch.bool)
        following = {"pixels": stacks[:, 1:], "reward": torch.ones(2, 2, 1), "done": done, "terminated": done}
        replay.extend(TensorDict({"pixels": stacks[:, :-1], "action": torch.zeros(2, 2), "next": following}, batch_size=[2, 2]))
    return {name: tensor.clone() for name, tensor in replay.state_dict().items()}


def test_a_saved_state_is_accepted(state: dict[str, Tensor]) -> None:
    make().load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("steps", lambda t: t * 0 - 7),
        ("steps", lambda t: t * 0 + 10**15),  # updates would be owed for all of them
        ("updates", lambda t: t - 10**12),
        ("end", lambda t: t + 10**6),  # every stack lost: nothing could ever be drawn
        ("first", lambda t: t - 10**6),
        ("live", lambda t: t.long()),
        ("rows.position", lambda t: t + 10**9),
        ("rows.age", lambda t: t - 10**9),
        ("rows.age", lambda t: t.double()),
        ("rows.action", lambda t: t[:1]),
        ("rows.done", lambda t: t.float()),
        ("powers", lambda t: -t - 1),
        ("powers", lambda t: t * float("nan")),
        ("powers", lambda t: t[:3]),
        ("default_priority", lambda t: t[None]),
    ],
)
def test_an_impossible_state_is_refused(state: dict[str, Tensor], name: str, change: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match="replay: "):
        make().load_state_dict(state | {name: change(state[name])})
    del state[name]
    with pytest.raises(KeyError, match=name):
        make().load_state_dict(state)

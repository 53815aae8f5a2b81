"""Heads on the predictor's roll-outs: the reward and the end of an episode."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torchrl.data import Bounded, Categorical

from jepakit.components.auxiliaries.reward_model import RewardModel
from jepakit.components.auxiliaries.reward_prediction import RewardPrediction
from jepakit.components.auxiliaries.termination_model import TerminationModel
from jepakit.protocols import PredictsReward, PredictsTermination

SPECS = [Categorical(3), Bounded(-1.0, 3.0, shape=[2], dtype=torch.float32)]


def slowly(head: nn.Module, s: torch.Tensor, action: torch.Tensor) -> float:
    """One row's output of a head with one hidden layer."""
    w1, b1, w2, b2 = (parameter.detach().double().numpy() for parameter in head.parameters())
    numbers = (action.numpy() - 1) / 2 if action.ndim else [float(action == a) for a in range(3)]
    return float((w2 @ np.maximum(w1 @ np.concatenate((s.double().numpy(), numbers)) + b1, 0) + b2).item())


@pytest.mark.parametrize("spec", SPECS)
def test_the_reward_model_is_the_mean_squared_error_of_its_head(spec: Categorical | Bounded) -> None:
    torch.manual_seed(0)
    model = RewardModel(spec, 4, hidden=7)
    s, action, reward = torch.randn(6, 4), spec.rand((6,)), torch.randn(6, 1) * 5
    guesses = [slowly(model, s[i], action[i]) for i in range(6)]

    assert isinstance(model, PredictsReward)
    stand_in = RewardPrediction(spec, 4, hidden=7)
    stand_in.load_state_dict(model.state_dict())
    assert torch.equal(stand_in.reward(s, action), model.reward(s, action))
    np.testing.assert_allclose(model.reward(s, action).tolist(), guesses, rtol=1e-4, atol=1e-6)
    assert model(s, action, reward).item() == pytest.approx(
        np.mean([(g - r) ** 2 for g, r in zip(guesses, reward[:, 0].tolist(), strict=True)]), rel=1e-4
    )


@pytest.mark.parametrize("spec", SPECS)
def test_the_termination_model_is_the_cross_entropy_of_its_head(spec: Categorical | Bounded) -> None:
    torch.manual_seed(0)
    model = TerminationModel(spec, 4, hidden=7)
    s, action, ended = torch.randn(6, 4) * 3, spec.rand((6,)), torch.tensor([[True], [False]] * 3)
    ends = [1 / (1 + math.exp(-slowly(model, s[i], action[i]))) for i in range(6)]

    assert isinstance(model, PredictsTermination)
    np.testing.assert_allclose(model.continues(s, action).tolist(), [1 - end for end in ends], rtol=1e-4)
    losses = [-math.log(end if over else 1 - end) for end, over in zip(ends, ended[:, 0].tolist(), strict=True)]
    assert model(s, action, ended).item() == pytest.approx(np.mean(losses), rel=1e-4)

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchrl.data import Bounded, Categorical

from jepakit.components.predictors.mlp import MLPPredictor


def weights(predictor: MLPPredictor) -> dict[str, np.ndarray]:
    return {name: tensor.double().numpy() for name, tensor in predictor.state_dict().items()}


@settings(max_examples=20)
@given(width=st.integers(1, 6), actions=st.integers(2, 5), hidden=st.integers(1, 7), seed=st.integers(0, 99))
def test_the_one_hot_action_is_added_after_the_first_layer(width: int, actions: int, hidden: int, seed: int) -> None:
    torch.manual_seed(seed)
    predictor = MLPPredictor(width, Categorical(actions), hidden=hidden)
    s_x, action = torch.randn(4, width), torch.randint(0, actions, (4,))

    w = weights(predictor)
    expected = np.zeros((4, width))
    for b in range(4):
        one_hot = np.zeros(actions)
        one_hot[action[b]] = 1.0
        after_first = w["first.weight"] @ s_x[b].numpy() + w["first.bias"]
        expected[b] = w["second.weight"] @ np.maximum(after_first + w["action.weight"] @ one_hot, 0) + w["second.bias"]

    np.testing.assert_allclose(predictor(s_x, action).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_continuous_actions_enter_unchanged() -> None:
    predictor = MLPPredictor(5, Bounded(-1, 1, (2,)), hidden=7)
    s_x, action = torch.randn(4, 5), torch.rand(4, 2)

    w = weights(predictor)
    after_first = s_x.numpy() @ w["first.weight"].T + w["first.bias"] + action.numpy() @ w["action.weight"].T
    expected = np.maximum(after_first, 0) @ w["second.weight"].T + w["second.bias"]

    np.testing.assert_allclose(predictor(s_x, action).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_each_action_predicts_a_different_embedding() -> None:
    predictor = MLPPredictor(8, Categorical(4))
    s_x = torch.randn(1, 8).expand(4, 8)
    assert len(predictor(s_x, torch.arange(4)).unique(dim=0)) == 4

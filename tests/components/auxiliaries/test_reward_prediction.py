import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchrl.data import Bounded, Categorical

from jepakit.components.auxiliaries.reward_prediction import RewardPrediction


@settings(max_examples=20)
@given(batch=st.integers(1, 6), width=st.integers(1, 5), continuous=st.booleans(), seed=st.integers(0, 99))
def test_is_the_mean_squared_error_of_a_head_on_embedding_and_action(batch: int, width: int, continuous: bool, seed: int) -> None:
    torch.manual_seed(seed)
    spec = Bounded(-1.0, 3.0, shape=[2], dtype=torch.float32) if continuous else Categorical(3)
    term = RewardPrediction(spec, width, hidden=7)
    s_x, action, reward = torch.randn(batch, width), spec.rand((batch,)), torch.randn(batch, 1) * 5

    w1, b1, w2, b2 = (parameter.detach().double().numpy() for parameter in term.parameters())
    expected = 0.0
    for b in range(batch):
        numbers = (action[b].numpy() - 1) / 2 if continuous else [float(action[b] == a) for a in range(3)]
        entered = np.concatenate((s_x[b].double().numpy(), numbers))
        (predicted,) = w2 @ np.maximum(w1 @ entered + b1, 0) + b2
        expected += (predicted - reward[b].item()) ** 2 / batch

    np.testing.assert_allclose(term(s_x=s_x, action=action, reward=reward).item(), expected, rtol=1e-4)


@pytest.mark.parametrize("spec", [Categorical(3), Bounded(-2.0, 2.0, shape=[2], dtype=torch.float32)])
def test_the_gradient_reaches_the_embedding_and_the_head(spec: Categorical | Bounded) -> None:
    torch.manual_seed(0)
    term, s_x = RewardPrediction(spec, 4), torch.randn(8, 4, requires_grad=True)
    term(s_x, spec.rand((8,)), torch.randn(8, 1)).backward()
    assert all(tensor.grad.abs().max() > 0 for tensor in (s_x, *term.parameters()))

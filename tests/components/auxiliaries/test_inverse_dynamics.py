import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchrl.data import Bounded, Categorical

from jepakit.components.auxiliaries.inverse_dynamics import InverseDynamics


def logits(term: InverseDynamics, s_x: torch.Tensor, s_x_next: torch.Tensor) -> np.ndarray:
    """The head computed by hand: one hidden layer with ReLU on the concatenated embeddings."""
    parameters = [parameter.detach().double().numpy() for parameter in term.head.parameters()]
    w1, b1, w2, b2 = parameters
    both = np.concatenate((s_x.detach().double().numpy(), s_x_next.detach().double().numpy()), axis=1)
    return np.maximum(both @ w1.T + b1, 0) @ w2.T + b2


@settings(max_examples=20)
@given(batch=st.integers(1, 6), width=st.integers(1, 5), actions=st.integers(2, 4), seed=st.integers(0, 99))
def test_discrete_actions_use_cross_entropy(batch: int, width: int, actions: int, seed: int) -> None:
    torch.manual_seed(seed)
    term = InverseDynamics(Categorical(actions), width, hidden=7)
    s_x, s_x_next = torch.randn(2, batch, width)
    action = torch.randint(0, actions, (batch,))
    expected = 0.0
    for row, chosen in zip(logits(term, s_x, s_x_next), action.tolist(), strict=True):
        expected -= np.log(np.exp(row[chosen]) / sum(np.exp(row))) / batch
    np.testing.assert_allclose(term(s_x=s_x, s_x_next=s_x_next, action=action).item(), expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=20)
@given(
    batch=st.integers(1, 6),
    bounds=st.lists(st.tuples(st.floats(-5, 0), st.floats(0.5, 5)), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_continuous_actions_use_squared_error_scaled_to_their_bounds(batch: int, bounds: list[tuple[float, float]], seed: int) -> None:
    torch.manual_seed(seed)
    low, high = torch.tensor(bounds).T
    spec = Bounded(low, high, dtype=torch.float32)
    term = InverseDynamics(spec, 4, hidden=7)
    s_x, s_x_next = torch.randn(2, batch, 4)
    action = spec.rand((batch,))
    expected = 0.0
    for row, done in zip(logits(term, s_x, s_x_next), action.double().numpy(), strict=True):
        for guess, number, (least, most) in zip(row, done, bounds, strict=True):
            scaled = -1 + 2 * (number - least) / (most - least)
            expected += (guess - scaled) ** 2 / (batch * len(bounds))
    np.testing.assert_allclose(term(s_x=s_x, s_x_next=s_x_next, action=action).item(), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("spec", [Categorical(3), Bounded(-2.0, 2.0, shape=[2], dtype=torch.float32)])
def test_the_gradient_reaches_both_embeddings_and_the_head(spec: Categorical | Bounded) -> None:
    torch.manual_seed(0)
    term = InverseDynamics(spec, 4)
    s_x, s_x_next = (torch.randn(8, 4, requires_grad=True) for _ in range(2))
    term(s_x, s_x_next, spec.rand((8,))).backward()
    assert all(tensor.grad.abs().max() > 0 for tensor in (s_x, s_x_next, *term.parameters()))


def test_learns_the_action_from_its_effect() -> None:
    torch.manual_seed(0)
    term = InverseDynamics(Categorical(3), 2, hidden=16)
    optimizer = torch.optim.Adam(term.parameters(), lr=0.03)
    for _ in range(100):
        s_x, action = torch.randn(64, 2), torch.randint(0, 3, (64,))
        loss = term(s_x, s_x + (action - 1)[:, None], action)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3  # log 3 = 1.1 at the start

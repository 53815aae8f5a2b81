import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.components.regularizers.time_similarity import TimeSimilarity


@settings(max_examples=25)
@given(batch=st.integers(1, 9), width=st.integers(1, 6), scale=st.floats(1e-2, 3), seed=st.integers(0, 99))
def test_is_the_mean_squared_euclidean_distance_with_gradient_through_both(batch: int, width: int, scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    s_x, s_x_next = (scale * torch.randn(batch, width)).requires_grad_(), torch.randn(batch, width, requires_grad=True)
    now, then = s_x.detach().double().numpy(), s_x_next.detach().double().numpy()
    expected = sum(sum((now[b, i] - then[b, i]) ** 2 for i in range(width)) for b in range(batch)) / batch

    loss = TimeSimilarity()(s_x=s_x, s_x_next=s_x_next)
    loss.backward()

    np.testing.assert_allclose(loss.item(), expected, rtol=1e-4)
    np.testing.assert_allclose(s_x.grad, 2 * (now - then) / batch, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(s_x_next.grad, 2 * (then - now) / batch, rtol=1e-3, atol=1e-6)


def test_a_collapsed_encoder_has_the_minimal_loss() -> None:
    assert TimeSimilarity()(torch.ones(8, 4), torch.ones(8, 4)) == 0

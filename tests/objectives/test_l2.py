import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.objectives.l2 import L2


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 4), horizon=st.integers(1, 3), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_is_a_sum_over_dimensions_for_each_prediction(batch: int, horizon: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    s_y_hat, s_y = torch.randn(2, batch, horizon, width)

    loss = L2()(s_y_hat, s_y)

    for b in range(batch):
        for h in range(horizon):
            distance = sum((s_y_hat[b, h, d].item() - s_y[b, h, d].item()) ** 2 for d in range(width))
            torch.testing.assert_close(loss[b, h].item(), distance, rtol=1e-4, atol=1e-5)
    assert loss.shape == (batch, horizon)

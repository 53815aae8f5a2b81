import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.components.objectives.l2 import L2
from jepakit.components.objectives.smooth_l1 import SmoothL1


def equation_3(error: float, beta: float) -> float:
    return error * error / (2 * beta) if abs(error) < beta else abs(error) - beta / 2


@settings(max_examples=20)
@given(beta=st.just(0.0) | st.floats(0.1, 3), rows=st.integers(1, 3), width=st.integers(1, 6), seed=st.integers(0, 99))
def test_sums_over_dimensions_for_each_prediction(beta: float, rows: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    s_y_hat, s_y = torch.randn(2, rows, 2, width) * 2

    loss = SmoothL1(beta=beta)(s_y_hat, s_y)

    assert loss.shape == (rows, 2)
    for m in range(rows):
        for n in range(2):
            distance = sum(equation_3((s_y_hat[m, n, d] - s_y[m, n, d]).item(), beta) for d in range(width))
            torch.testing.assert_close(loss[m, n].item(), distance, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(SmoothL1(beta=beta)(s_y_hat[:, 0], s_y[:, 0]), loss[:, 0])


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_near_zero_it_is_l2_up_to_its_documented_scale(beta: float) -> None:
    s_y_hat, s_y = torch.rand(2, 5, 8) * beta / 2
    torch.testing.assert_close(SmoothL1(beta=beta)(s_y_hat, s_y), L2()(s_y_hat, s_y) / (2 * beta))

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.components.objectives.l2 import L2


@settings(max_examples=20)
@given(rows=st.integers(1, 4), tokens=st.integers(1, 3), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_sums_over_dimensions_for_each_prediction(rows: int, tokens: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    s_y_hat, s_y = torch.randn(2, rows, tokens, width)

    loss = L2()(s_y_hat, s_y)

    for m in range(rows):
        for n in range(tokens):
            distance = sum((s_y_hat[m, n, d].item() - s_y[m, n, d].item()) ** 2 for d in range(width))
            torch.testing.assert_close(loss[m, n].item(), distance, rtol=1e-4, atol=1e-5)
    assert loss.shape == (rows, tokens)
    assert torch.equal(L2()(s_y_hat[:, 0], s_y[:, 0]), loss[:, 0])


def test_independent_embeddings_of_unit_variance_are_2_d_apart() -> None:
    torch.manual_seed(0)
    assert L2()(*torch.randn(2, 4000, 16)).mean().item() == pytest.approx(2 * 16, rel=0.02)

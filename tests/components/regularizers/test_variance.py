import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.components.regularizers.variance import Variance


def equation_2(s_x: np.ndarray) -> float:
    """-min(1, 1/d Σ Var(s_x)_i), the variance with Bessel's correction."""
    batch, width = s_x.shape
    total = 0.0
    for i in range(width):
        mean = sum(s_x[:, i]) / batch
        total += sum((x - mean) ** 2 for x in s_x[:, i]) / (batch - 1)
    return -min(1.0, total / width)


@settings(max_examples=40)
@given(
    batch=st.integers(2, 9),
    scales=st.lists(st.floats(1e-3, 3), min_size=1, max_size=6),
    offset=st.floats(-3, 3),
    seed=st.integers(0, 99),
)
def test_matches_equation_2(batch: int, scales: list[float], offset: float, seed: int) -> None:
    torch.manual_seed(seed)
    s_x = torch.randn(batch, len(scales)) * torch.tensor(scales) + offset
    torch.testing.assert_close(Variance()(s_x).item(), equation_2(s_x.double().numpy()), rtol=1e-4, atol=1e-5)


def test_the_mean_over_dimensions_is_clamped() -> None:
    one_wide_one_flat = torch.tensor([[-1.0, 5.0], [1.0, 5.0]])  # variances 2 and 0: clamped one by one they would give -0.5
    assert Variance()(one_wide_one_flat).item() == -1.0


@pytest.mark.parametrize(("scale", "flows"), [(0.5, True), (2.0, False)])
def test_gradient_flows_only_below_a_mean_variance_of_1(scale: float, flows: bool) -> None:
    torch.manual_seed(0)
    s_x = (torch.randn(64, 4) * scale).requires_grad_()
    Variance()(s_x).backward()
    assert (s_x.grad.abs().max() > 0) == flows
    if flows:  # a step down the gradient spreads the embeddings
        assert (s_x - s_x.grad).var(dim=0).mean() > s_x.var(dim=0).mean()

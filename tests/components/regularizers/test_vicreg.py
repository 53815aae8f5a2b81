import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.components.regularizers.vicreg import VICReg


def variance_and_covariance(z: np.ndarray, gamma: float, eps: float) -> tuple[float, float]:
    """Eqs. 1 to 4 of the paper, one number at a time."""
    batch, width = z.shape
    means = [sum(z[:, j]) / batch for j in range(width)]

    def cov(i: int, j: int) -> float:
        return sum((z[b, i] - means[i]) * (z[b, j] - means[j]) for b in range(batch)) / (batch - 1)

    spread = sum(max(0.0, gamma - np.sqrt(cov(j, j) + eps)) for j in range(width)) / width
    redundant = sum(cov(i, j) ** 2 for i in range(width) for j in range(width) if i != j) / width
    return spread, redundant


@settings(max_examples=40)
@given(
    batch=st.integers(2, 9),
    scales=st.lists(st.sampled_from([0.0, 1e-3, 0.5, 1.0, 3.0]), min_size=1, max_size=6),
    offset=st.floats(-3, 3),
    factors=st.tuples(st.floats(0, 30), st.floats(0, 3)),
    gamma=st.floats(0.5, 2),
    seed=st.integers(0, 99),
)
def test_matches_the_paper(batch: int, scales: list[float], offset: float, factors: tuple[float, float], gamma: float, seed: int) -> None:
    torch.manual_seed(seed)
    s_x = torch.randn(batch, len(scales)) @ (torch.diag(torch.tensor(scales)) + 0.3) + offset  # correlated dimensions
    spread, redundant = variance_and_covariance(s_x.double().numpy(), gamma, 1e-3)
    loss = VICReg(variance=factors[0], covariance=factors[1], gamma=gamma, eps=1e-3)(s_x)
    torch.testing.assert_close(loss.item(), factors[0] * spread + factors[1] * redundant, rtol=1e-3, atol=1e-3)


def test_the_defaults_are_the_papers_values() -> None:
    torch.manual_seed(0)
    s_x = torch.randn(16, 4) * 0.5
    spread, redundant = variance_and_covariance(s_x.double().numpy(), 1.0, 1e-4)
    assert VICReg()(s_x).item() == pytest.approx(25 * spread + redundant, rel=1e-4)


def test_the_gradient_of_a_collapsed_encoder_is_finite_and_spreads_it() -> None:
    torch.manual_seed(0)
    s_x = (0.1 + 1e-4 * torch.randn(32, 4)).requires_grad_()
    VICReg()(s_x).backward()
    assert s_x.grad.isfinite().all()
    assert (s_x - s_x.grad).var(dim=0).mean() > s_x.var(dim=0).mean()

    constant = torch.ones(32, 4, requires_grad=True)
    VICReg()(constant).backward()
    assert constant.grad.isfinite().all()


def test_spread_out_uncorrelated_embeddings_cost_nothing() -> None:
    corners = torch.tensor([[-2.0, -2.0], [-2.0, 2.0], [2.0, -2.0], [2.0, 2.0]], requires_grad=True)
    loss = VICReg()(corners)
    loss.backward()
    assert loss.item() == 0
    assert not corners.grad.any()

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.components.regularizers.barlow import BarlowTwins


def equation_1(a: np.ndarray, b: np.ndarray, redundancy: float) -> float:
    """Eqs. 1 and 2 of the paper, one number at a time."""
    batch, width = a.shape
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    total = 0.0
    for i in range(width):
        for j in range(width):
            above = sum(a[n, i] * b[n, j] for n in range(batch))
            below = np.sqrt(sum(a[n, i] ** 2 for n in range(batch))) * np.sqrt(sum(b[n, j] ** 2 for n in range(batch)))
            total += (1 - above / below) ** 2 if i == j else redundancy * (above / below) ** 2
    return total


@settings(max_examples=40)
@given(
    batch=st.integers(3, 9),
    scales=st.lists(st.floats(0.5, 3), min_size=1, max_size=6),
    offset=st.floats(-3, 3),
    agreement=st.floats(-1, 1),
    redundancy=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_matches_the_paper(batch: int, scales: list[float], offset: float, agreement: float, redundancy: float, seed: int) -> None:
    torch.manual_seed(seed)
    s_y = torch.randn(batch, len(scales)) * torch.tensor(scales) + offset
    s_y_hat = agreement * s_y + torch.randn_like(s_y)
    expected = equation_1(s_y_hat.double().numpy(), s_y.double().numpy(), redundancy)
    loss = BarlowTwins(redundancy=redundancy, eps=1e-9)(s_y_hat, s_y)
    torch.testing.assert_close(loss.item(), expected, rtol=1e-3, atol=1e-3)


def test_the_papers_lambda_is_the_default() -> None:
    torch.manual_seed(0)
    s_y_hat, s_y = torch.randn(2, 64, 8)
    assert BarlowTwins()(s_y_hat, s_y).item() == pytest.approx(equation_1(s_y_hat.double().numpy(), s_y.double().numpy(), 5e-3), rel=1e-3)


def test_identical_independent_and_collapsed_embeddings_have_known_losses() -> None:
    torch.manual_seed(0)
    s_y, noise = torch.randn(2, 4096, 8)
    barlow = BarlowTwins()
    assert barlow(7 * s_y + 3, s_y).item() == pytest.approx(0, abs=1e-3)
    assert barlow(noise, s_y).item() == pytest.approx(8, rel=0.05)
    assert barlow(torch.full_like(s_y, 0.3), s_y).item() == pytest.approx(8, rel=1e-3)  # collapsed
    assert barlow(-s_y, s_y).item() == pytest.approx(32, rel=1e-2)


def test_a_collapsed_encoder_has_a_bounded_gradient() -> None:
    torch.manual_seed(0)
    s_y_hat = torch.full((32, 4), 0.3, requires_grad=True)
    BarlowTwins()(s_y_hat, torch.randn(32, 4)).backward()
    assert s_y_hat.grad.isfinite().all()
    assert s_y_hat.grad.norm() < 1000


def test_the_gradient_reaches_each_input_that_requires_it() -> None:
    torch.manual_seed(0)
    s_y_hat, s_y = torch.randn(2, 16, 4)
    s_y_hat.requires_grad_()
    BarlowTwins()(s_y_hat, s_y).backward()
    assert s_y_hat.grad.abs().max() > 0
    s_y.requires_grad_()
    BarlowTwins()(s_y_hat, s_y).backward()
    assert s_y.grad.abs().max() > 0

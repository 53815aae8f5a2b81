import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.components.objectives.cosine import Cosine
from jepakit.components.objectives.l2 import L2


@settings(max_examples=20)
@given(rows=st.integers(1, 3), width=st.integers(1, 6), scale=st.floats(1e-2, 1e3), seed=st.integers(0, 99))
def test_matches_byols_equation_2(rows: int, width: int, scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    s_y_hat, s_y = torch.randn(2, rows, 2, width) * scale

    loss = Cosine()(s_y_hat, s_y)

    assert loss.shape == (rows, 2)
    for m in range(rows):
        for n in range(2):
            p, z = s_y_hat[m, n].tolist(), s_y[m, n].tolist()
            product = sum(a * b for a, b in zip(p, z, strict=True))
            cosine = product / math.sqrt(sum(a * a for a in p)) / math.sqrt(sum(b * b for b in z))
            torch.testing.assert_close(loss[m, n].item(), 2 - 2 * cosine, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(Cosine()(s_y_hat[:, 0], s_y[:, 0]), loss[:, 0])
    unit_hat, unit = (s / s.norm(dim=-1, keepdim=True) for s in (s_y_hat, s_y))
    torch.testing.assert_close(loss, L2()(unit_hat, unit), rtol=1e-4, atol=1e-5)


def test_its_values_range_from_0_to_4() -> None:
    s = torch.tensor([[3.0, 4.0]])
    for other, expected in ((2 * s, 0.0), (s[:, [1, 0]] * torch.tensor([1.0, -1.0]), 2.0), (-s, 4.0)):
        assert Cosine()(s, other).item() == pytest.approx(expected, abs=1e-6)


def test_a_dead_embedding_costs_2_and_has_a_bounded_gradient() -> None:
    s_y_hat = torch.zeros(1, 4, requires_grad=True)
    loss = Cosine(eps=1e-3)(s_y_hat, torch.tensor([[0.0, 3.0, 0.0, 0.0]]))
    loss.backward()
    assert loss.item() == 2
    assert s_y_hat.grad.norm().item() == pytest.approx(2 / 1e-3)

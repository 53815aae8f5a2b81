import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.components.objectives.infonce import InfoNCE


def info_nce(q: np.ndarray, k: np.ndarray, w: np.ndarray | None, temperature: float) -> np.ndarray:
    """CURL's pseudo-code for q and k [M, D], in loops: logits minus their maximum, cross entropy with the diagonal as labels."""
    rows, losses = len(q), np.zeros(len(q))
    for m in range(rows):
        logits = np.zeros(rows)
        for n in range(rows):
            if w is None:
                similarity = sum(q[m] * k[n]) / math.sqrt(sum(q[m] ** 2)) / math.sqrt(sum(k[n] ** 2))
            else:
                similarity = sum(q[m, i] * w[i, j] * k[n, j] for i in range(q.shape[1]) for j in range(k.shape[1]))
            logits[n] = similarity / temperature
        logits -= max(logits)
        losses[m] = -(logits[m] - math.log(sum(math.exp(logit) for logit in logits)))
    return losses


@settings(max_examples=25)
@given(
    similarity=st.sampled_from(["bilinear", "cosine"]),
    temperature=st.floats(0.1, 3),
    rows=st.integers(1, 5),
    tokens=st.integers(0, 3),
    width=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_matches_a_slow_loop(similarity: str, temperature: float, rows: int, tokens: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    objective = InfoNCE(width, similarity=similarity, temperature=temperature)
    s_y_hat, s_y = torch.randn(2, rows, *[tokens] * bool(tokens), width)

    loss = objective(s_y_hat, s_y)

    w = objective.bilinear.weight.detach().double().numpy() if similarity == "bilinear" else None
    q, k = s_y_hat.double().numpy(), s_y.double().numpy()
    if tokens:  # a token's negatives are the other rows' tokens at the same position
        expected = np.stack([info_nce(q[:, n], k[:, n], w, temperature) for n in range(tokens)], axis=1)
    else:
        expected = info_nce(q, k, w, temperature)
    assert loss.shape == s_y.shape[:-1]
    np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("similarity", "names"), [("bilinear", ["bilinear.weight"]), ("cosine", [])])
def test_the_bilinear_form_is_trained(similarity: str, names: list[str]) -> None:
    objective = InfoNCE(4, similarity=similarity)
    s_y_hat = torch.randn(6, 4, requires_grad=True)
    objective(s_y_hat, torch.randn(6, 4)).mean().backward()
    assert [name for name, _ in objective.named_parameters()] == names
    assert all(tensor.grad.abs().max() > 0 for tensor in (s_y_hat, *objective.parameters()))


def test_an_uninformative_prediction_costs_the_logarithm_of_the_rows() -> None:
    objective, rows = InfoNCE(4, similarity="cosine", temperature=0.1), 12
    tells_nothing = torch.ones(rows, 4)
    torch.testing.assert_close(objective(tells_nothing, torch.ones(rows, 4)), torch.full((rows,), math.log(rows)))
    corners = torch.eye(4)  # orthogonal targets
    torch.testing.assert_close(objective(corners, corners), torch.full((4,), math.log(1 + 3 * math.exp(-1 / 0.1))))


def test_large_logits_stay_finite() -> None:
    s = (torch.randn(5, 4) * 1e4).requires_grad_()
    loss = InfoNCE(4)(s, torch.randn(5, 4) * 1e4)
    loss.mean().backward()
    assert loss.isfinite().all()
    assert s.grad.isfinite().all()

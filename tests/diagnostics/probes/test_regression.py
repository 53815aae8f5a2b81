"""Probes find what an embedding contains, and nothing where it contains nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jepakit.diagnostics.probes.regression import Pairs, fit_linear, fit_mlp, r_squared


@pytest.fixture(autouse=True)
def short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepakit.diagnostics.probes.regression.MOST_UPDATES", 1500)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reference(predicted: Tensor, true: Tensor) -> list[float]:
    """scikit-learn's r2_score(..., multioutput="raw_values"), written out."""
    found = []
    for column in range(true.shape[1]):
        error = sum((float(y) - float(y_hat)) ** 2 for y, y_hat in zip(true[:, column], predicted[:, column], strict=True))
        mean = np.mean([float(y) for y in true[:, column]])
        found.append(1 - error / sum((float(y) - mean) ** 2 for y in true[:, column]))
    return found


def folds(count: int) -> Tensor:
    return torch.arange(count) % 4


def test_r_squared_is_scikit_learns() -> None:
    true, predicted = drawn(0, 50, 3) * torch.tensor([1.0, 100.0, 0.01]) + 5, drawn(1, 50, 3)
    assert r_squared(predicted, true) == pytest.approx(reference(predicted, true))
    assert r_squared(true, true) == [1, 1, 1]
    assert r_squared(true.mean(dim=0).expand_as(true), true) == pytest.approx([0, 0, 0])


def test_a_constant_variable_has_no_r_squared() -> None:
    true = torch.stack([torch.full((20,), 0.1, dtype=torch.float64), torch.zeros(20), torch.arange(20)], dim=1)
    assert r_squared(true, true) == [None, None, 1]
    assert r_squared(true[:0], true[:0]) == [None, None, None]


def test_both_probes_read_a_state_that_the_embedding_contains_linearly() -> None:
    state = drawn(0, 600, 3) * torch.tensor([1.0, 50.0, 1e-3]) + torch.tensor([0.0, 7.0, -2.0])
    s_x = ((state - state.mean(dim=0)) / state.std(dim=0) @ drawn(1, 3, 16)).float() + 3
    pairs, held_out = Pairs(s_x[:400], state[:400]), Pairs(s_x[400:], state[400:])
    assert min(r_squared(fit_linear(pairs, folds(400))(held_out.embedding), held_out.state)) > 0.9999
    assert min(r_squared(fit_mlp(pairs, held_out, seed=0)(held_out.embedding), held_out.state)) > 0.95


def test_only_the_mlp_reads_what_is_not_linear() -> None:
    s_x = drawn(0, 1500, 2)
    state = (s_x[:, :1] * s_x[:, 1:]).clamp(-1, 1)
    pairs, held_out = Pairs(s_x[:1000], state[:1000]), Pairs(s_x[1000:], state[1000:])
    assert r_squared(fit_linear(pairs, folds(1000))(held_out.embedding), held_out.state)[0] < 0.05
    assert r_squared(fit_mlp(pairs, held_out, seed=0)(held_out.embedding), held_out.state)[0] > 0.9


@pytest.mark.parametrize("scale", [1.0, 1e-9, 0.0])
def test_an_embedding_of_noise_tells_nothing(scale: float) -> None:
    """A collapsed embedding, too: what is left of it is rounding, which must not be blown up to a signal."""
    state = drawn(0, 600, 2)
    s_x = (1 + scale * drawn(1, 600, 8)).float()
    pairs, held_out = Pairs(s_x[:400], state[:400]), Pairs(s_x[400:], state[400:])
    for probe in (fit_linear(pairs, folds(400)), fit_mlp(pairs.where(folds(400) > 0), pairs.where(folds(400) == 0), seed=0)):
        assert all(-0.1 < value < 0.05 for value in r_squared(probe(held_out.embedding), held_out.state))


def test_rounding_is_not_read_as_a_signal() -> None:
    state = drawn(0, 600, 1)
    s_x = 1e4 + 1e-3 * state.expand(-1, 4)  # in fp32 the embedding still differs, in its last digits
    assert s_x.float().unique().numel() > 1
    pairs = Pairs(s_x.float(), state)
    assert r_squared(fit_linear(pairs, folds(600))(pairs.embedding), state)[0] == pytest.approx(0, abs=1e-6)


def test_ridge_is_the_closed_form() -> None:
    """The weights solve (XᵀX / M + λ) w = Xᵀy / M for one of the penalties, on standardised columns, for each variable."""
    x, noise = drawn(0, 80, 5), drawn(1, 80, 2)
    y = x @ drawn(2, 5, 2) + noise * torch.tensor([0.1, 3.0])
    standard = [(each - each.mean(dim=0)) / each.std(dim=0, correction=0) for each in (x, y)]
    found = (fit_linear(Pairs(x, y), folds(80))(x) - y.mean(dim=0)) / y.std(dim=0, correction=0)
    for column in range(2):
        solved = [
            standard[0]
            @ torch.linalg.solve(standard[0].T @ standard[0] / 80 + 10.0**power * torch.eye(5), standard[0].T @ standard[1] / 80)
            for power in range(-6, 3)
        ]
        assert min(float((each - found)[:, column].abs().max()) for each in solved) < 1e-6

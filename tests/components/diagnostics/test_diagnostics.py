"""Each diagnostic against the obvious computation, and at the extremes that its figures are read for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jepakit.components.diagnostics.critic import Critic
from jepakit.components.diagnostics.dimensions import Dimensions
from jepakit.components.diagnostics.drift import Drift
from jepakit.components.diagnostics.gradients import Gradients
from jepakit.components.diagnostics.policy import Policy
from jepakit.components.diagnostics.prediction import Prediction
from jepakit.components.diagnostics.spectrum import Spectrum
from jepakit.components.diagnostics.updates import Updates

S_X = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1.0, 0.5, 1e-3, 0.0, 2.0])


def test_dimensions_are_those_of_numpy_and_dead_ones_are_counted() -> None:
    found = Dimensions()(S_X)
    np.testing.assert_allclose(found["embedding/variance_by_dimension"], sorted(S_X.numpy().var(axis=0, ddof=1), reverse=True), rtol=1e-4)
    assert found["embedding/dead_dimensions"] == 2
    assert Dimensions(threshold=1e-9)(S_X)["embedding/dead_dimensions"] == 1
    assert Dimensions()(torch.zeros(9, 4))["embedding/dead_dimensions"] == 4


def test_of_many_dimensions_a_readable_number_is_listed() -> None:
    s_x = torch.arange(200.0).sqrt() * torch.tensor([[1.0], [-1.0]])  # the variance of dimension n is 2 n
    listed = Dimensions()(s_x)["embedding/variance_by_dimension"]
    assert (len(listed), round(listed[0].item()), listed[-1].item()) == (64, 398, 0)


def test_the_spectrum_is_that_of_the_covariance() -> None:
    found = Spectrum()(S_X)
    eigenvalues = np.linalg.eigvalsh(np.cov(S_X.double().numpy().T))[::-1]
    np.testing.assert_allclose(found["spectrum/shares"], eigenvalues / eigenvalues.sum(), atol=1e-6)
    assert found["spectrum/participation"].item() == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-4)


def test_directions_are_counted() -> None:
    axes = torch.cat((torch.eye(8), -torch.eye(8)))
    assert Spectrum()(axes)["spectrum/participation"].item() == pytest.approx(8)
    line = Spectrum()(torch.linspace(-1, 1, 20)[:, None] * torch.ones(8))
    assert (line["spectrum/participation"].item(), line["spectrum/rank_me"].item()) == pytest.approx((1, 1), abs=1e-3)
    assert Spectrum()(axes + 1000)["spectrum/rank_me"] < 1.2  # RankMe sees the constant part, participation does not
    assert Spectrum()(torch.zeros(9, 4))["spectrum/participation"].isnan()


def predicted(noise: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    s_y, copied, error = (torch.randn(5, 2, 3, generator=draws) for _ in range(3))
    return s_y + noise * error, s_y, copied, torch.tensor([[True, True]] * 4 + [[True, False]])


def test_predictions_are_compared_with_copying_where_they_lie_in_their_episode() -> None:
    s_y_hat, s_y, copied, inside = predicted(0.5)
    pairs = [(b, h) for b in range(5) for h in range(2) if inside[b, h]]
    distance = [math.dist(s_y_hat[pair].tolist(), s_y[pair].tolist()) for pair in pairs]
    baseline = [math.dist(copied[pair].tolist(), s_y[pair].tolist()) for pair in pairs]
    found = Prediction()(s_y_hat, s_y, copied, inside)
    assert found["prediction/distance"].item() == pytest.approx(sum(distance) / 9)
    assert found["prediction/explained"].item() == pytest.approx(1 - sum(d * d for d in distance) / sum(b * b for b in baseline))
    cosines = [s_y_hat[pair].dot(s_y[pair]).item() / s_y_hat[pair].norm().item() / s_y[pair].norm().item() for pair in pairs]
    assert found["prediction/cosine"].item() == pytest.approx(sum(cosines) / 9)
    second = [i for i, (_, h) in enumerate(pairs) if h == 1]
    share = 1 - sum(distance[i] ** 2 for i in second) / sum(baseline[i] ** 2 for i in second)
    assert found["prediction/explained_by_step"][1].item() == pytest.approx(share)


def test_a_perfect_prediction_explains_all_and_a_copy_nothing() -> None:
    s_y_hat, s_y, copied, inside = predicted(0.0)
    assert Prediction()(s_y_hat, s_y, copied, inside)["prediction/explained"] == 1
    assert Prediction()(copied, s_y, copied, inside)["prediction/explained"] == 0
    assert "prediction/explained" not in Prediction()(s_y_hat, s_y, s_y, inside)  # nothing changes: there is nothing to explain
    assert "prediction/explained_by_step" not in Prediction()(s_y_hat[:, :1], s_y[:, :1], copied[:, :1], inside[:, :1])


def test_a_critic_explains_all_some_or_less_than_nothing() -> None:
    targets = torch.tensor([1.0, 2.0, 3.0, 6.0])
    assert Critic()(targets, targets)["critic/explained_variance"] == 1
    shifted = Critic()(targets - 5, targets)
    assert (shifted["critic/explained_variance"], shifted["critic/bias"], shifted["critic/value"]) == (1, -5, -2)
    assert Critic()(torch.zeros(4), targets)["critic/explained_variance"] == 0
    assert Critic()(-targets, targets)["critic/explained_variance"] == -3
    assert not Critic()(targets, torch.ones(4))["critic/explained_variance"].isfinite()


def test_the_policys_figures_get_their_group() -> None:
    assert Policy()({"entropy": torch.tensor(0.5)}) == {"policy/entropy": torch.tensor(0.5)}


def test_gradients_add_up_by_part_before_their_norm_is_taken() -> None:
    jepa = {"encoder.a": torch.tensor([3.0]), "encoder.b": torch.tensor([4.0]), "predictor.a": torch.tensor([2.0])}
    critic = {"encoder.a": torch.tensor([-3.0]), "algorithm.a": torch.tensor([1.0])}
    found = {name: value.item() for name, value in Gradients()({"jepa": jepa, "critic": critic}).items()}
    assert found == {
        "gradient_norm/encoder": 4,  # where the terms pull against each other
        "gradient_norm/predictor": 2,
        "gradient_norm/algorithm": 1,
        "gradient_norm_by_term/encoder/jepa": 5,
        "gradient_norm_by_term/predictor/jepa": 2,
        "gradient_norm_by_term/encoder/critic": 3,
        "gradient_norm_by_term/algorithm/critic": 1,
    }


def test_updates_are_relative_to_the_weights_of_their_part() -> None:
    before = {"encoder.a": torch.tensor([3.0, 0.0]), "encoder.b": torch.tensor([4.0]), "predictor.a": torch.zeros(2)}
    after = {name: tensor + 0.1 for name, tensor in before.items()}
    found = Updates()(before, after)
    assert found["update_ratio/encoder"].item() == pytest.approx(0.1 * 3**0.5 / 5)
    assert not found["update_ratio/predictor"].isfinite()


def test_drift_is_measured_on_the_first_observations_and_survives_a_checkpoint() -> None:
    encoder = nn.Linear(4, 3)
    pixels = torch.randn(9, 4)
    drift = Drift(rows=4)
    assert drift(pixels, encoder) == {}
    kept = pixels[[0, 2, 5, 8]]
    embedded = [encoder(kept).detach()]
    for _ in range(2):
        with torch.no_grad():
            encoder.weight.add_(0.5)
        resumed = Drift(rows=4)
        resumed.load_state_dict({name: tensor.clone() for name, tensor in drift.state_dict().items()})
        found = [each(torch.randn(9, 4), encoder) for each in (drift, resumed)]
        embedded.append(encoder(kept).detach())
        for name, origin in (("first", embedded[0]), ("last", embedded[-2])):
            expected = (embedded[-1] - origin).norm(dim=1).mean() / origin.norm(dim=1).mean()
            assert [each[f"drift/since_{name}"].item() for each in found] == pytest.approx([expected.item()] * 2)

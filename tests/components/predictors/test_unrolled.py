"""What predictors with their own ``unroll`` have in common: one step agrees with many, and no step sees later actions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchrl.data import Bounded, Categorical, TensorSpec

from jepakit.components.predictors.gru import GRUPredictor
from jepakit.components.predictors.transformer import TransformerPredictor

Unrolled = GRUPredictor | TransformerPredictor
BATCH, HORIZON, WIDTH = 4, 6, 5

both_kinds = pytest.mark.parametrize(
    "make", [lambda spec: GRUPredictor(WIDTH, spec, hidden=9), lambda spec: TransformerPredictor(WIDTH, spec, dim=8, heads=2)]
)
both_specs = pytest.mark.parametrize("spec", [Categorical(3), Bounded(-1, 1, (2,))], ids=["discrete", "continuous"])


def inputs(spec: TensorSpec) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(BATCH, WIDTH), torch.stack([spec.expand(BATCH, *spec.shape).rand() for _ in range(HORIZON)], dim=1)


@both_kinds
@both_specs
def test_a_shorter_unroll_is_the_start_of_a_longer_one(make: Callable[[TensorSpec], Unrolled], spec: TensorSpec) -> None:
    torch.manual_seed(0)
    predictor, (s_x, actions) = make(spec), inputs(spec)
    whole = predictor.unroll(s_x, actions)
    assert whole.shape == (BATCH, HORIZON, WIDTH)
    for h in range(1, HORIZON):
        torch.testing.assert_close(whole[:, :h], predictor.unroll(s_x, actions[:, :h]))
    torch.testing.assert_close(whole[:, 0], predictor(s_x, actions[:, 0]))


@both_kinds
@both_specs
def test_a_prediction_depends_only_on_s_x_and_the_actions_so_far(make: Callable[[TensorSpec], Unrolled], spec: TensorSpec) -> None:
    torch.manual_seed(0)
    predictor, (s_x, actions) = make(spec), inputs(spec)
    before = predictor.unroll(s_x, actions)
    for h in range(HORIZON):
        changed = actions.clone()
        changed[:, h] = (changed[:, h] + 1) % 3 if changed.dtype == torch.int64 else changed[:, h] + 1.0
        moved = (predictor.unroll(s_x, changed) - before).abs().amax(dim=-1)  # [B, H]
        assert torch.equal(moved > 1e-6, (torch.arange(HORIZON) >= h).expand(BATCH, -1)), h
    another = predictor.unroll(s_x.roll(1, 0), actions)
    assert ((another - before).abs().amax(dim=-1) > 1e-6).all()


@both_kinds
def test_rows_are_predicted_independently(make: Callable[[TensorSpec], Unrolled]) -> None:
    torch.manual_seed(0)
    predictor, (s_x, actions) = make(Categorical(3)), inputs(Categorical(3))
    one_by_one = [predictor.unroll(s_x[b : b + 1], actions[b : b + 1]) for b in range(BATCH)]
    torch.testing.assert_close(predictor.unroll(s_x, actions), torch.cat(one_by_one))

import pytest
import torch
from torch import Tensor

from jepakit.components.predictors.identity import IdentityPredictor


@pytest.mark.parametrize("action", [torch.tensor([0, 1, 2]), torch.rand(3, 2)], ids=["discrete", "continuous"])
def test_the_prediction_is_s_x(action: Tensor) -> None:
    predictor, s_x = IdentityPredictor(), torch.randn(3, 5, requires_grad=True)
    assert torch.equal(predictor(s_x, action), s_x)
    assert predictor(s_x, action).requires_grad
    assert not list(predictor.parameters())

import numpy as np
import pytest
import torch
from torchrl.data import Bounded, Categorical, TensorSpec

from jepakit.components.predictors.residual import ResidualPredictor


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias


@pytest.mark.parametrize("spec", [Categorical(3), Bounded(-1, 1, (3,))], ids=["discrete", "continuous"])
def test_each_block_adds_its_output_for_the_normalised_input(spec: TensorSpec) -> None:
    torch.manual_seed(0)
    predictor = ResidualPredictor(5, spec, hidden=7, depth=2)
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    s_x, action = torch.randn(4, 5) * 3, spec.expand(4, *spec.shape).rand()

    w = {name: tensor.double().numpy() for name, tensor in predictor.state_dict().items()}
    expected = np.zeros((4, 5))
    for b in range(4):
        a = np.eye(3)[action[b]] if action.dtype == torch.int64 else action[b].numpy()
        s = s_x[b].double().numpy()
        for i in range(2):
            normed = layer_norm(s, w[f"blocks.{i}.norm.weight"], w[f"blocks.{i}.norm.bias"])
            hidden = w[f"blocks.{i}.first.weight"] @ normed + w[f"blocks.{i}.first.bias"] + w[f"blocks.{i}.action.weight"] @ a
            s = s + w[f"blocks.{i}.second.weight"] @ np.maximum(hidden, 0) + w[f"blocks.{i}.second.bias"]
        expected[b] = s

    np.testing.assert_allclose(predictor(s_x, action).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_zero_output_layers_give_the_identity() -> None:
    predictor = ResidualPredictor(5, Categorical(2))
    for block in predictor.blocks:
        torch.nn.init.zeros_(block.second.weight)
        torch.nn.init.zeros_(block.second.bias)
    s_x = torch.randn(4, 5)
    assert torch.equal(predictor(s_x, torch.tensor([0, 1, 0, 1])), s_x)

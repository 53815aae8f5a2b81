import numpy as np
import pytest
import torch
from torchrl.data import Bounded, Categorical, TensorSpec

from jepakit.components.predictors.film import FiLMPredictor


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("spec", [Categorical(3), Bounded(-1, 1, (3,))], ids=["discrete", "continuous"])
def test_the_action_scales_and_shifts_every_hidden_unit(spec: TensorSpec, depth: int) -> None:
    torch.manual_seed(0)
    hidden = 7
    predictor = FiLMPredictor(5, spec, hidden=hidden, depth=depth)
    s_x, action = torch.randn(4, 5), spec.expand(4, *spec.shape).rand()

    w = {name: tensor.double().numpy() for name, tensor in predictor.state_dict().items()}
    expected = np.zeros((4, 5))
    for b in range(4):
        a = np.eye(3)[action[b]] if action.dtype == torch.int64 else action[b].numpy()
        h = s_x[b].numpy()
        for i in range(depth):
            film = w[f"films.{i}.weight"] @ a + w[f"films.{i}.bias"]
            linear = w[f"layers.{i}.weight"] @ h + w[f"layers.{i}.bias"]
            h = np.array([max(0.0, (1 + film[unit]) * linear[unit] + film[hidden + unit]) for unit in range(hidden)])
        expected[b] = w["out.weight"] @ h + w["out.bias"]

    np.testing.assert_allclose(predictor(s_x, action).detach().numpy(), expected, rtol=1e-4, atol=1e-5)

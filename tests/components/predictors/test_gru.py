import numpy as np
import torch
from torchrl.data import Categorical

from jepakit.components.predictors.gru import GRUPredictor


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_unroll_is_an_open_loop_gru_from_s_x() -> None:
    torch.manual_seed(0)
    width, hidden, horizon, number = 4, 5, 3, 3
    predictor = GRUPredictor(width, Categorical(number), hidden=hidden)
    s_x, actions = torch.randn(2, width), torch.randint(0, number, (2, horizon))

    w = {name: tensor.double().numpy() for name, tensor in predictor.state_dict().items()}
    expected = np.zeros((2, horizon, width))
    for b in range(2):
        h = w["start.weight"] @ s_x[b].numpy() + w["start.bias"]
        for k in range(horizon):
            from_action = w["gru.weight_ih_l0"] @ np.eye(number)[actions[b, k]] + w["gru.bias_ih_l0"]
            from_state = w["gru.weight_hh_l0"] @ h + w["gru.bias_hh_l0"]
            reset = sigmoid(from_action[:hidden] + from_state[:hidden])
            update = sigmoid(from_action[hidden : 2 * hidden] + from_state[hidden : 2 * hidden])
            new = np.tanh(from_action[2 * hidden :] + reset * from_state[2 * hidden :])
            h = (1 - update) * new + update * h
            expected[b, k] = w["out.weight"] @ h + w["out.bias"]

    np.testing.assert_allclose(predictor.unroll(s_x, actions).detach().numpy(), expected, rtol=1e-4, atol=1e-5)

import math

import numpy as np
import pytest
import torch
from torchrl.data import Categorical

from jepakit.components.predictors.transformer import TransformerPredictor, positions


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias


def gelu(x: np.ndarray) -> np.ndarray:
    return np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x])


def position(p: int, dim: int) -> np.ndarray:
    return np.array([math.sin(p / 10_000 ** (i / dim)) if i % 2 == 0 else math.cos(p / 10_000 ** ((i - 1) / dim)) for i in range(dim)])


def test_unroll_is_a_causal_pre_norm_transformer() -> None:
    torch.manual_seed(0)
    width, dim, heads, depth, horizon, number = 3, 8, 2, 2, 3, 4
    predictor = TransformerPredictor(width, Categorical(number), dim=dim, heads=heads, depth=depth)
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    s_x, actions = torch.randn(2, width), torch.randint(0, number, (2, horizon))
    w = {name: tensor.double().numpy() for name, tensor in predictor.state_dict().items()}

    expected = np.zeros((2, horizon, width))
    for b in range(2):
        tokens = [w["embed_s_x.weight"] @ s_x[b].numpy() + w["embed_s_x.bias"]]
        tokens += [w["embed_action.weight"][:, actions[b, h]] + w["embed_action.bias"] for h in range(horizon)]
        tokens = [token + position(p, dim) for p, token in enumerate(tokens)]
        for layer in range(depth):
            at = {name.removeprefix(f"blocks.{layer}."): value for name, value in w.items() if name.startswith(f"blocks.{layer}.")}
            normed = [layer_norm(token, at["norm1.weight"], at["norm1.bias"]) for token in tokens]
            q, k, v = np.split(np.array(normed) @ at["self_attn.in_proj_weight"].T + at["self_attn.in_proj_bias"], 3, axis=1)
            for i in range(len(tokens)):
                attended = []
                for head in range(heads):
                    own = slice(head * dim // heads, (head + 1) * dim // heads)
                    scores = np.array([q[i, own] @ k[j, own] / math.sqrt(dim / heads) for j in range(i + 1)])
                    weights = np.exp(scores) / np.exp(scores).sum()
                    attended.append(sum(weights[j] * v[j, own] for j in range(i + 1)))
                tokens[i] = tokens[i] + at["self_attn.out_proj.weight"] @ np.concatenate(attended) + at["self_attn.out_proj.bias"]
                hidden = gelu(at["linear1.weight"] @ layer_norm(tokens[i], at["norm2.weight"], at["norm2.bias"]) + at["linear1.bias"])
                tokens[i] = tokens[i] + at["linear2.weight"] @ hidden + at["linear2.bias"]
        for h in range(horizon):
            expected[b, h] = w["out.weight"] @ layer_norm(tokens[1 + h], w["norm.weight"], w["norm.bias"]) + w["out.bias"]

    np.testing.assert_allclose(predictor.unroll(s_x, actions).detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_positions_encode_the_order_of_actions() -> None:
    torch.manual_seed(0)
    predictor = TransformerPredictor(3, Categorical(2), dim=8, heads=2)
    s_x = torch.randn(1, 3)
    one, other = (predictor.unroll(s_x, torch.tensor([order])) for order in ([0, 1, 1], [1, 0, 1]))
    assert (one[:, 2] - other[:, 2]).abs().max() > 1e-4
    assert positions(500, 8).unique(dim=0).shape == (500, 8)


def test_every_block_has_its_own_initial_weights() -> None:
    first, second = TransformerPredictor(3, Categorical(2), dim=8, heads=2).blocks
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"dim": 7, "heads": 1}, "dim 7 is odd"), ({"dim": 8, "heads": 3}, "heads 3 does not divide dim 8")],
)
def test_a_dim_that_is_odd_or_not_divisible_by_heads_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        TransformerPredictor(3, Categorical(2), **fields)

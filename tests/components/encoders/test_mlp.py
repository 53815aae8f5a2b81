from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from jepakit.components.encoders.mlp import MLPEncoder
from jepakit.protocols import FrameShape

STATE = FrameShape(frames=3, channels=1, height=1, width=4)
REFERENCE = {"relu": lambda x: np.maximum(x, 0), "silu": lambda x: x / (1 + np.exp(-x)), "tanh": np.tanh}


@settings(max_examples=20)
@given(
    hidden=st.lists(st.integers(1, 9), max_size=3).map(tuple),
    dim=st.integers(2, 6),
    activation=st.sampled_from(sorted(REFERENCE)),
    final_norm=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_encoder_is_an_mlp_over_all_frames(hidden: tuple[int, ...], dim: int, activation: Any, final_norm: bool, seed: int) -> None:
    torch.manual_seed(seed)
    encoder = MLPEncoder(STATE, hidden=hidden, dim=dim, activation=activation, final_norm=final_norm)
    states = torch.randn(5, *STATE)

    linears = [module for module in encoder.modules() if isinstance(module, nn.Linear)]
    assert [linear.out_features for linear in linears] == [*hidden, dim]
    rows = states.double().numpy().reshape(5, 12)
    for linear in linears:
        rows = rows @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()
        rows = rows if linear is linears[-1] else REFERENCE[activation](rows)
    if final_norm:
        rows = (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(rows.var(axis=1, keepdims=True) + 1e-5)

    np.testing.assert_allclose(encoder(states).detach().numpy(), rows, rtol=1e-3, atol=1e-4)


def test_bytes_are_divided_by_255_and_floats_are_not() -> None:
    encoder = MLPEncoder(FrameShape(2, 3, 4, 5), final_norm=False)
    pixels = torch.randint(0, 256, (7, 2, 3, 4, 5), dtype=torch.uint8)
    before = pixels.clone()

    torch.testing.assert_close(encoder(pixels), encoder(pixels.double() / 255))
    assert (encoder(pixels.float()) - encoder(pixels)).abs().max() > 1
    assert torch.equal(pixels, before)


def test_float_input_is_not_modified() -> None:
    states = torch.randn(2, *STATE)
    before = states.clone()
    MLPEncoder(STATE)(states)
    assert torch.equal(states, before)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (0,), (2, 0)])
def test_any_leading_dimensions_are_accepted(leading: tuple[int, ...]) -> None:
    encoder, states = MLPEncoder(STATE, dim=8), torch.randn(*leading, *STATE)
    one_by_one = [encoder(state) for state in states.reshape(-1, *STATE)]
    torch.testing.assert_close(encoder(states), torch.stack(one_by_one).reshape(*leading, 8) if one_by_one else torch.empty(*leading, 8))


def test_bf16_stays_close_to_fp32() -> None:
    torch.manual_seed(0)
    encoder, states = MLPEncoder(STATE), torch.randn(16, *STATE)
    exact = encoder(states)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = encoder(states).float()
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).norm() < 0.05 * exact.norm()

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from jepakit.components.targets.ema import EMA


class Encoder(nn.Module):
    """One linear layer, a float buffer, and a BatchNorm, which counts its batches in an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("mean_frame", torch.rand(6))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.norm(self.linear(pixels.flatten(-4).float() / 255 - self.mean_frame))


def random_pixels(batch: int = 5) -> Tensor:
    return torch.randint(0, 256, (batch, 1, 1, 2, 3), dtype=torch.uint8)


def walk(encoder: Encoder) -> None:
    """Change every parameter and every buffer, as training does."""
    encoder(random_pixels())
    with torch.no_grad():
        for tensor in (*encoder.parameters(), encoder.mean_frame):
            tensor.add_(torch.randn_like(tensor))


def test_starts_as_an_exact_copy_with_its_own_storage() -> None:
    encoder = Encoder()
    target = EMA(encoder)

    online, average = encoder.state_dict(), target.encoder.state_dict()
    assert online.keys() == average.keys()
    for name in online:
        assert torch.equal(online[name], average[name]), name
        assert online[name].data_ptr() != average[name].data_ptr(), name


def test_the_target_is_unchanged_until_the_update() -> None:
    encoder = Encoder()
    target, pixels = EMA(encoder).eval(), random_pixels()
    before = target(pixels)
    walk(encoder)
    assert torch.equal(target(pixels), before)


def test_no_gradient_reaches_the_target() -> None:
    encoder = Encoder()
    target = EMA(encoder)
    assert not any(parameter.requires_grad for parameter in target.parameters())
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert not target(random_pixels()).requires_grad
    target.update(encoder)
    assert not any(parameter.requires_grad for parameter in target.parameters())


@settings(max_examples=20)
@given(decay=st.floats(0, 1) | st.just(0.99), updates=st.integers(1, 4), seed=st.integers(0, 99))
def test_follows_the_papers_formula(decay: float, updates: int, seed: int) -> None:
    torch.manual_seed(seed)
    encoder = Encoder()
    target = EMA(encoder, decay=decay)
    expected = {name: tensor.double() for name, tensor in copy.deepcopy(encoder.state_dict()).items()}
    for _ in range(updates):
        walk(encoder)
        target.update(encoder)
        for name, online in encoder.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * online.double() if online.is_floating_point() else online.double()

    for name, average in target.encoder.state_dict().items():
        torch.testing.assert_close(average.double(), expected[name], rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    assert target.encoder.norm.num_batches_tracked == encoder.norm.num_batches_tracked == updates


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_decay_0_copies_and_decay_1_freezes(decay: float) -> None:
    encoder = Encoder()
    target = EMA(encoder, decay=decay)
    start = copy.deepcopy(encoder)
    walk(encoder)
    target.update(encoder)
    for average, exact in zip(target.parameters(), (encoder if decay == 0 else start).parameters(), strict=True):
        assert torch.equal(average, exact)


@pytest.mark.parametrize("base", [0.0, 0.6, 0.99])
def test_the_cosine_schedule_matches_byol(base: float) -> None:
    encoder = Encoder()
    target = EMA(encoder, decay=base, schedule="cosine")
    with torch.no_grad():
        target.encoder.linear.bias.zero_()
        encoder.linear.bias.fill_(1.0)
    bias, rounds = 0.0, 8
    for k in range(rounds + 1):
        target.anneal(k / rounds)
        target.update(encoder)
        tau = 1 - (1 - base) * (math.cos(math.pi * k / rounds) + 1) / 2
        bias = tau * bias + (1 - tau)
        torch.testing.assert_close(target.encoder.linear.bias, torch.full((4,), bias))
        if k == 0:
            torch.testing.assert_close(bias, 1 - base)  # the schedule starts at the decay ...
    assert tau == 1  # ... and ends at 1, where the target no longer moves


def test_a_constant_decay_has_no_schedule() -> None:
    encoder = Encoder()
    annealed, plain = EMA(encoder), EMA(encoder)
    walk(encoder)
    annealed.anneal(0.5)
    for target in (annealed, plain):
        target.update(encoder)
    assert all(torch.equal(a, b) for a, b in zip(annealed.parameters(), plain.parameters(), strict=True))

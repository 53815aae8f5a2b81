"""A small encoder with parameters, a float buffer and an integer buffer, its input, and a function that changes it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

Walk = Callable[[nn.Module], None]


class CountingEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.register_buffer("mean_frame", torch.rand(6))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.linear(pixels.flatten(-4).float() / 255 - self.mean_frame)


@pytest.fixture
def encoder() -> nn.Module:
    torch.manual_seed(0)
    return CountingEncoder()


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(0, 256, (5, 2, 1, 1, 2, 3), dtype=torch.uint8)


@pytest.fixture
def walk() -> Walk:
    """Changes every parameter and every buffer, as training does."""

    @torch.no_grad()
    def change(encoder: nn.Module) -> None:
        for tensor in (*encoder.parameters(), *encoder.buffers()):
            tensor.add_(torch.randn_like(tensor) if tensor.is_floating_point() else 1)

    return change

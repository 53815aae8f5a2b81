from collections.abc import Callable

import torch
from torch import Tensor, nn

from jepakit.components.targets.frozen import Frozen


def test_keeps_the_initial_encoder(encoder: nn.Module, pixels: Tensor, walk: Callable[[nn.Module], None]) -> None:
    target, expected = Frozen(encoder), encoder(pixels)
    walk(encoder)
    target.update(encoder)
    assert torch.equal(target(pixels), expected)
    assert not target(pixels).requires_grad
    assert not any(parameter.requires_grad for parameter in target.parameters())

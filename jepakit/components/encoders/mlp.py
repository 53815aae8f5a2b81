"""An MLP for state vectors, the baseline without pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torchrl.modules import MLP

from jepakit.components.encoders.pixels import scale
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


@register("encoder", "mlp")
class MLPEncoder(nn.Module):
    """A plain MLP over the numbers of all K frames, for state vectors: it shows how much of a result is due to pixels.

    The observation is flattened into K · C · H · W numbers; a state vector of S numbers has the shape [K, 1, 1, S]. Floats enter unscaled,
    uint8 as x/255. Every default is a choice.

    Args:
        hidden: Widths of the hidden layers; an empty list makes the encoder linear.
        dim: Width D of s_x.
        activation: Activation after each hidden layer.
        final_norm: Whether the encoder ends in a LayerNorm. It fixes the scale of s_x, and so that of L_JEPA.
    """

    def __init__(
        self,
        frames: FrameShape,
        *,
        hidden: tuple[PositiveInt, ...] = (256,),
        dim: PositiveInt = 64,
        activation: Literal["relu", "gelu", "silu", "tanh"] = "relu",
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        self.net = MLP(in_features=math.prod(frames), out_features=dim, num_cells=list(hidden), activation_class=ACTIVATIONS[activation])
        self.norm = nn.LayerNorm(dim) if final_norm else nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """``pixels`` [*, K, C, H, W], uint8 or float -> s_x [*, D]."""
        numbers = scale(pixels, "unit") if pixels.dtype == torch.uint8 else pixels.float()
        return self.norm(self.net(numbers.flatten(-4)))

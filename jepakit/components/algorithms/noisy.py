"""Noisy linear layers: exploration by noise on the weights of a head."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchrl.envs.utils import ExplorationType, exploration_type

EXPLORING = (ExplorationType.RANDOM, None)  #: None: nobody has set it, as when a policy is called outside a collector


class NoisyLinear(nn.Linear):
    """y = (μ_w + σ_w ⊙ ε_w) x + μ_b + σ_b ⊙ ε_b with factorised noise: ε_w = f(ε_out) f(ε_in)ᵀ, ε_b = f(ε_out), f(z) = sgn(z) √|z|.

    μ and σ are trained. Every call draws ε_in and ε_out from N(0, 1) anew; the rows of one call share them. A loss that calls online and
    target layers thus sees independent noise in each, as in the paper's Eqs. 15 and 16 (ε, ε′, ε″), and a layer has no state but its
    weights. The draws come from torch's CPU generator on every device. Where TorchRL's ``exploration_type()`` asks for no exploration,
    y = μ_w x + μ_b.

    TorchRL's ``NoisyLinear`` holds the noise in buffers that a caller has to draw again. A target network would follow them: with a slow
    target, its noise would be an average of online noise, and shrink. It also divides the initial σ_b by the square root of the outputs.

    Source: Fortunato et al. 2018, Noisy Networks for Exploration, Eqs. 9 to 11; section 3.2 for the initial values, which are
    U(-1/√p, 1/√p) for μ (PyTorch's own for a linear layer) and σ₀/√p for σ, with p inputs.

    Args:
        in_features: p.
        out_features: Outputs.
        bias: Whether there are μ_b and σ_b.
        std: σ₀; 0.5 in the paper.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, std: float = 0.5) -> None:
        super().__init__(in_features, out_features, bias)
        sigma = std / math.sqrt(in_features)
        self.weight_sigma = nn.Parameter(torch.full_like(self.weight, sigma))
        self.bias_sigma = nn.Parameter(torch.full_like(self.bias, sigma)) if bias else None

    def fixed(self) -> nn.Linear:
        """The same layer without noise, as greedy evaluation uses it."""
        layer = nn.Linear(self.in_features, self.out_features, self.bias is not None)
        layer.weight, layer.bias = self.weight, self.bias
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [*, in_features] -> [*, out_features]."""
        if exploration_type() not in EXPLORING:
            return super().forward(x)
        # Always drawn on the CPU, so that one generator decides on every device.
        draws = torch.randn(self.in_features + self.out_features, device="cpu").to(x.device)
        noise_in, noise_out = (draws.sign() * draws.abs().sqrt()).split((self.in_features, self.out_features))
        weight = self.weight + self.weight_sigma * torch.outer(noise_out, noise_in)
        return F.linear(x, weight, None if self.bias_sigma is None else self.bias + self.bias_sigma * noise_out)

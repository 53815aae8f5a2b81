"""LeJEPA's regularizer: tests whether embeddings are standard normal along random directions."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from jepakit.components.shared.counted import Counted
from jepakit.components.shared.ranks import gathered
from jepakit.registry import register


@register("regularizer", "sigreg")
class SIGReg(Counted):
    """L_reg = mean over random directions a of B ∫ |φ_a(t) - exp(-t²/2)|² exp(-t²/2) dt: it pulls s_x towards N(0, I). Never negative.

    φ_a(t) = 1/B Σ_b exp(i t a·s_x[b]) is the characteristic function of the embeddings along a, and exp(-t²/2) is that of N(0, 1): the
    integral is the Epps-Pulley statistic. For embeddings from N(0, I) its expectation is √(2π) · (1 - 1/√3) = 1.06, whatever B and D. For
    collapsed embeddings it is 0.41 · B or more, so the same weight counts for more in larger minibatches. LeJEPA's λ lies between 0.01
    and 0.1, with 1 - λ on the prediction. Unlike a variance term, it also fixes the mean.

    Each update in training mode draws new directions from a generator seeded with the number of updates so far. They are therefore the
    same on every device, on every rank and after a resume. The loss is computed in fp32, even under autocast.

    Source: Balestriero and LeCun 2025, LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics, section 4 and its
    algorithm for SIGReg, which uses the weight exp(-t²/2) and does not standardise s_x first.

    Args:
        directions: Random unit directions for each update; 256 in the paper.
        knots: Points of the trapezoid rule over [-t_max, t_max]; 17 in the paper. The integrand is even, so half of them are computed.
        t_max: Limit of the integral; 5 in the paper, and 3 (with 33 knots) in its authors' later code.
    """

    t: Tensor
    weights: Tensor

    def __init__(self, *, directions: PositiveInt = 256, knots: Annotated[int, Field(ge=3)] = 17, t_max: PositiveFloat = 5.0) -> None:
        super().__init__()
        self.directions = directions
        t = torch.linspace(-t_max, t_max, knots)[(knots + 1) // 2 :]  # t > 0: the integrand is even, and 0 at 0
        step = 2 * t_max / (knots - 1)
        weights = torch.full_like(t, 2 * step)
        weights[-1] = step
        self.register_buffer("t", t, persistent=False)
        self.register_buffer("weights", weights * torch.exp(-t.square() / 2), persistent=False)

    def forward(self, s_x: Tensor) -> Tensor:
        """``s_x`` [B, D] -> scalar."""
        with torch.autocast(s_x.device.type, enabled=False):
            s_x = gathered(s_x.float())
            along = s_x @ self.draw(s_x.shape[-1]).to(s_x.device)  # [B, directions]
            phase = along[..., None] * self.t  # [B, directions, knots > 0]
            real, imaginary = phase.cos().mean(dim=0), phase.sin().mean(dim=0)
            distance = (real - torch.exp(-self.t.square() / 2)).square() + imaginary.square()
            loss = len(s_x) * (distance @ self.weights).mean()
        if self.training:
            self.updates += 1
        return loss

    def draw(self, width: int) -> Tensor:
        """This update's directions [D, directions], of unit length, on the CPU."""
        generator = torch.Generator().manual_seed(int(self.updates))
        return F.normalize(torch.randn(width, self.directions, generator=generator, device="cpu"), dim=0)

"""The intrinsic curiosity module."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.shared.actions import ActionNumbers
from jepakit.components.shared.images import refuse_vectors
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec

    from jepakit.protocols import FrameShape

LAYERS = 4  #: convolutions, each of which halves height and width, rounding up


@register("curiosity", "icm")
class ICM(nn.Module):
    """surprise[t] = ½ ‖φ̂(x[t+1]) − φ(x[t+1])‖²: the error of a forward model in features that tell which action was taken.

    φ̂ comes from φ(x[t]) and a[t]. The features φ are trained by L_I alone, which predicts a[t] from φ(x[t]) and φ(x[t+1]); so they need
    not hold what no action changes. Its loss is (1 − β) L_I + β L_F, where L_F is the mean surprise. L_I is the cross-entropy of discrete
    actions, or the mean squared error of continuous ones, scaled to [-1, 1]. φ has weights of its own: the run's encoder learns nothing
    from this. The forward model sends no gradient into φ (a choice), where it would favour features that are easy to predict.

    Unlike the paper, the surprise is divided by its running scale instead of multiplied by a fixed η, and the weight of the policy's loss
    beside the module's (λ = 0.1) is left to `optimizer.lr_factors`. Pixels enter as x/255.

    Source: Pathak et al. 2017, Curiosity-driven Exploration by Self-supervised Prediction, Eqs. 2 to 7, with the paper's four
    convolutions of 32 filters (3x3, stride 2, ELU).

    Args:
        beta: β, the share of L_F in its loss; 0.2 in the paper.
        filters: Filters of each convolution; 32 in the paper.
        hidden: Width of the hidden layers of both models; 256 in the paper.

    Raises:
        ValueError: The frames are state vectors.
    """

    def __init__(
        self,
        frames: FrameShape,
        action_spec: TensorSpec,
        *,
        beta: Annotated[float, Field(ge=0, le=1)] = 0.2,
        filters: PositiveInt = 32,
        hidden: PositiveInt = 256,
    ) -> None:
        super().__init__()
        refuse_vectors("icm", frames)
        self.beta = beta
        self.numbers = ActionNumbers(action_spec)
        channels = (frames.frames * frames.channels, *[filters] * LAYERS)
        convolutions = [nn.Sequential(nn.Conv2d(*pair, kernel_size=3, stride=2, padding=1), nn.ELU()) for pair in pairwise(channels)]
        self.features = nn.Sequential(*convolutions, nn.Flatten())
        rows, columns = (-(-side // 2**LAYERS) for side in (frames.height, frames.width))
        width = filters * rows * columns
        self.inverse = nn.Sequential(nn.Linear(2 * width, hidden), nn.ReLU(), nn.Linear(hidden, self.numbers.width))
        self.forward_model = nn.Sequential(nn.Linear(width + self.numbers.width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def surprise(self, pixels: Tensor, pixels_next: Tensor, action: Tensor) -> Tensor:
        """uint8 ``pixels`` and ``pixels_next`` [M, K, C, H, W], ``action`` [M] or [M, A] -> [M]."""
        return self._error(self._phi(pixels), self._phi(pixels_next), action)

    def loss(self, pixels: Tensor, pixels_next: Tensor, action: Tensor) -> Tensor:
        """(1 − β) L_I + β L_F of the same inputs, a scalar."""
        before, after = self._phi(pixels), self._phi(pixels_next)
        guess = self.inverse(torch.cat((before, after), dim=-1))
        inverse = F.cross_entropy(guess, action) if self.numbers.num_actions else F.mse_loss(guess, self.numbers(action))
        forward = self._error(before.detach(), after.detach(), action).mean()
        return (1 - self.beta) * inverse + self.beta * forward

    def _phi(self, pixels: Tensor) -> Tensor:
        return self.features(pixels.flatten(1, 2).float() / 255)

    def _error(self, before: Tensor, after: Tensor, action: Tensor) -> Tensor:
        guess = self.forward_model(torch.cat((before, self.numbers(action)), dim=-1))
        return (guess - after).square().sum(dim=-1) / 2

"""The angle between prediction and target, independent of their lengths."""

from __future__ import annotations

from pydantic import PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.registry import register


@register("objective", "cosine")
class Cosine(nn.Module):
    """L_JEPA = 2 - 2 cos(ŝ_y, s_y): the squared distance between the two, each normalised to length 1.

    Scale: from 0 (same direction) to 4 (opposite), whatever D and the embeddings' scale; 2 at right angles. SPR uses -cos, which has half
    the gradient.

    Source: Grill et al. 2020, Bootstrap Your Own Latent, Eq. 2; Schwarzer et al. 2021, Data-Efficient RL with Self-Predictive
    Representations, section 2 (the prediction loss).

    Args:
        eps: Smallest length to divide by. A shorter embedding has a loss near 2 and a gradient of up to 2 / ``eps``.
    """

    def __init__(self, *, eps: PositiveFloat = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        """ŝ_y and s_y [M, D] -> [M]; or [M, N, D] -> [M, N]."""
        return 2 - 2 * F.cosine_similarity(s_y_hat, s_y, dim=-1, eps=self.eps)

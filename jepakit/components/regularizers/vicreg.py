"""VICReg's variance and covariance terms."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.registry import register


@register("regularizer", "vicreg")
class VICReg(nn.Module):
    """L_reg = variance · v + covariance · c: every dimension spread out, no two saying the same. At least 0.

    v = 1/D Σ_j relu(gamma - √(Var_j + eps)) lies in [0, gamma], and is nearly gamma for a collapsed encoder; c = 1/D Σ_{i≠j} Cov_ij² grows
    with D and with the fourth power of the embeddings' scale. Variances and covariances are the unbiased ones over the batch of s_x.
    VICReg's invariance term, whose weight there is 25, is the objective's job. There both views are regularized and their terms added; here
    s_x alone, since s_y mostly has no gradient.

    Source: Bardes, Ponce and LeCun 2022, VICReg: Variance-Invariance-Covariance Regularization, Eqs. 1-4 and 6.

    Args:
        variance: Factor of the variance term; the paper has 25.
        covariance: Factor of the covariance term; the paper has 1.
        gamma: The standard deviation beyond which a dimension is left alone; the paper has 1.
        eps: Keeps the root's gradient finite where a dimension is flat; the paper has 1e-4.
    """

    def __init__(
        self,
        *,
        variance: NonNegativeFloat = 25.0,
        covariance: NonNegativeFloat = 1.0,
        gamma: PositiveFloat = 1.0,
        eps: PositiveFloat = 1e-4,
    ) -> None:
        super().__init__()
        self.variance = variance
        self.covariance = covariance
        self.gamma = gamma
        self.eps = eps

    def forward(self, s_x: Tensor) -> Tensor:
        """``s_x`` [B, D] -> scalar."""
        batch, width = s_x.shape
        centred = s_x - s_x.mean(dim=0)
        covariances = centred.T @ centred / (batch - 1)  # [D, D]
        variances = covariances.diagonal()
        too_narrow = F.relu(self.gamma - (variances + self.eps).sqrt()).mean()
        redundant = (covariances.square().sum() - variances.square().sum()) / width
        return self.variance * too_narrow + self.covariance * redundant

"""VICReg's variance and covariance terms."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.shared.ranks import gathered
from jepakit.registry import register


@register("regularizer", "vicreg")
class VICReg(nn.Module):
    """L_reg = variance · v + covariance · c: every dimension varies, and no two are redundant. Never negative.

    v = 1/D Σ_j relu(gamma - √(Var_j + eps)) lies in [0, gamma] and is nearly gamma for a collapsed encoder. c = 1/D Σ_{i≠j} Cov_ij² grows
    with D and with the fourth power of the embeddings' scale. Both use unbiased estimates over the batch of s_x. The objective takes the
    place of VICReg's invariance term (weight 25 in the paper). The paper regularizes both views and adds their terms; this regularizes
    only s_x, because s_y usually has no gradient.

    Source: Bardes, Ponce and LeCun 2022, VICReg: Variance-Invariance-Covariance Regularization, Eqs. 1-4 and 6.

    Args:
        variance: Factor of the variance term; 25 in the paper.
        covariance: Factor of the covariance term; 1 in the paper.
        gamma: Standard deviation above which a dimension costs nothing; 1 in the paper.
        eps: Keeps the root's gradient finite if a dimension is flat; 1e-4 in the paper.
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
        s_x = gathered(s_x)
        batch, width = s_x.shape
        centred = s_x - s_x.mean(dim=0)
        covariances = centred.T @ centred / (batch - 1)  # [D, D]
        variances = covariances.diagonal()
        too_narrow = F.relu(self.gamma - (variances + self.eps).sqrt()).mean()
        redundant = (covariances.square().sum() - variances.square().sum()) / width
        return self.variance * too_narrow + self.covariance * redundant

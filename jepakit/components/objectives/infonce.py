"""InfoNCE: pick a prediction's own target out of all rows' targets."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.shared.ranks import gathered, place
from jepakit.registry import register


@register("objective", "infonce")
class InfoNCE(nn.Module):
    """L_JEPA = -log(exp(q_m · k_m / τ) / Σ_n exp(q_m · k_n / τ)) over the minibatch's M rows: q = ŝ_y and k = W s_y, W trained.

    Every other row is a negative, even one of the same episode or of the same stack (two rows can share a stack if the horizon is longer
    than 1). For embeddings of N tokens, a token's negatives are the other rows' tokens at the same position.
    As in CURL, only targets are negatives, and only predictions are queries. In SimCLR both views of the other rows are negatives, and both
    views are queries.

    Scale: ln M for uninformative predictions, so it grows with the minibatch; 0 at best. With ``similarity: cosine`` a perfect prediction
    still costs ln(1 + (M - 1) · exp(-1/τ)) if all targets are orthogonal: choose τ well below 1 (0.1 in SimCLR).

    Source: Laskin et al. 2020, CURL (bilinear, no temperature); van den Oord et al. 2018, Contrastive Predictive Coding, Eqs. 3 and 4;
    Chen et al. 2020, SimCLR, Eq. 1 (cosine). CURL subtracts each row's largest logit; log-softmax does so internally. W starts like a
    linear layer's, within ±1/√D. CURL's code draws from [0, 1), which for D = 64 makes initial logits of tens.

    Args:
        similarity: ``bilinear``: q · W k with a trained W [D, D], as in CURL; ``cosine``: of q and k, without parameters.
        temperature: τ, the divisor of the similarities.
    """

    compares_rows = True

    def __init__(
        self,
        embedding_width: int,
        *,
        similarity: Literal["bilinear", "cosine"] = "bilinear",
        temperature: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.bilinear = nn.Linear(embedding_width, embedding_width, bias=False) if similarity == "bilinear" else None
        self.temperature = temperature

    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        """ŝ_y and s_y [M, D] -> [M]; or [M, N, D] -> [M, N]."""
        if self.bilinear:
            query, key = s_y_hat, self.bilinear(s_y)
        else:
            query, key = F.normalize(s_y_hat, dim=-1), F.normalize(s_y, dim=-1)
        logits = torch.einsum("m...d,k...d->mk...", query, gathered(key)) / self.temperature  # [M, K], or [M, K, N]: K rows on all ranks
        return -logits.log_softmax(dim=1).diagonal(offset=place(key)).movedim(-1, 0)

"""The diagnostic kind ``prediction``."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from jepakit.registry import register


@register("diagnostic", "prediction")
class Prediction:
    """How far ŝ_y is from s_y, and whether it says more than that nothing changes.

    ``prediction/distance`` is the mean of ‖ŝ_y - s_y‖, ``prediction/cosine`` that of their cosine. ``prediction/explained`` is
    1 - Σ‖ŝ_y - s_y‖² / Σ‖s̄ - s_y‖², where s̄, the copy-forward baseline, is the target's embedding of x: 1 is a perfect prediction, 0 is no
    better than copying, below 0 is worse. s̄ lies in the space of s_y, whatever projector there is. Copying s_x itself would also count how
    far the target lags behind the encoder. With a horizon above 1, ``prediction/explained_by_step`` has the share for each step ahead.

    L_JEPA falls when the embedding collapses. The share does not: both sums fall.
    """

    def __call__(self, s_y_hat: Tensor, s_y: Tensor, s_y_copied: Tensor, inside: Tensor) -> dict[str, Tensor]:
        """Predictions, targets and baseline [B, H, P], and where they count [B, H] -> figures; no share if x itself is predicted."""
        error, baseline = ((guess - s_y).square().sum(dim=-1) * inside for guess in (s_y_hat, s_y_copied))  # [B, H]
        cosine = F.cosine_similarity(s_y_hat, s_y, dim=-1)
        figures = {"prediction/distance": error[inside].sqrt().mean(), "prediction/cosine": cosine[inside].mean()}
        if not baseline.any():
            return figures
        figures["prediction/explained"] = 1 - error.sum() / baseline.sum()
        if inside.shape[1] > 1:
            figures["prediction/explained_by_step"] = 1 - error.sum(dim=0) / baseline.sum(dim=0)
        return figures

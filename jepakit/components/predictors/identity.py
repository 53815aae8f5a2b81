"""No predictor: successive embeddings are to be alike."""

from __future__ import annotations

from torch import Tensor, nn

from jepakit.registry import register


@register("predictor", "identity")
class IdentityPredictor(nn.Module):
    """ŝ_y = s_x, whatever the action: L_JEPA then asks that embeddings change slowly. The baseline without dynamics.

    It has no parameters, and nothing in it keeps a constant embedding from being the best.

    Source: Wiskott and Sejnowski 2002, Slow Feature Analysis, section 2 (minimise ⟨(Δs)²⟩).
    """

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D], ``action`` of any sort -> ŝ_y [B, D]."""
        return s_x

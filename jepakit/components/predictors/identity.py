"""No predictor: successive embeddings should be equal."""

from __future__ import annotations

from torch import Tensor, nn

from jepakit.registry import register


@register("predictor", "identity")
class IdentityPredictor(nn.Module):
    """ŝ_y = s_x, whatever the action, so L_JEPA only asks embeddings to change slowly. The baseline without dynamics.

    It has no parameters. A constant embedding minimises L_JEPA, unless the objective is ``infonce``. With that and ``jepa.y: same`` it is
    CURL (Laskin et al. 2020), whose queries pass no predictor.

    Source: Wiskott and Sejnowski 2002, Slow Feature Analysis, section 2 (minimise ⟨(Δs)²⟩).
    """

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D], any ``action`` -> ŝ_y [B, D]."""
        return s_x

"""How far embeddings are spread, where rounding could hide that they have collapsed."""

from __future__ import annotations

from torch import Tensor, nn

from jepakit.components.shared import ranks
from jepakit.diagnostics.embedding import Spread, only_looking, spread

BF16_TRUSTED = 1e-3  #: ratio of variance to mean square above which bf16's rounding error (some 1e-5) is negligible


def trusted_spread(s_x: Tensor, pixels: Tensor, encoder: nn.Module, precision: str) -> Spread:
    """Variance and mean square of all ranks' ``s_x``; if bf16's rounding would show, of the same ``pixels`` encoded in fp32."""
    found = spread(s_x)
    if precision == "bf16" and found.variance < BF16_TRUSTED * found.mean_square:
        with only_looking(encoder):
            found = spread(ranks.gathered(encoder(pixels)))
    return found

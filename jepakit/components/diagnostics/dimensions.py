"""The diagnostic kind ``dimensions``."""

from __future__ import annotations

from pydantic import PositiveFloat
from torch import Tensor

from jepakit.diagnostics.embedding import spread
from jepakit.diagnostics.figures import thinned
from jepakit.registry import register


@register("diagnostic", "dimensions")
class Dimensions:
    """Variance by dimension of s_x, and how many dimensions are dead.

    ``embedding/variance_by_dimension`` lists the variances, largest first; of more than 64, 64 of them at even distances.
    ``embedding/dead_dimensions`` counts those with hardly any: a mean over dimensions, as the paper's variance is, hides them.

    Args:
        threshold: A dimension is dead if its variance is below this share of the embedding's mean square.
    """

    def __init__(self, *, threshold: PositiveFloat = 1e-4) -> None:
        self.threshold = threshold

    def __call__(self, s_x: Tensor) -> dict[str, Tensor]:
        """``s_x`` [M, D] -> figures."""
        variances = s_x.var(dim=0)
        dead = variances <= self.threshold * spread(s_x).mean_square  # of an embedding of zeros all are
        return {
            "embedding/variance_by_dimension": thinned(variances.sort(descending=True).values),
            "embedding/dead_dimensions": dead.sum(),
        }

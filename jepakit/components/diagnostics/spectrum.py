"""The diagnostic kind ``spectrum``."""

from __future__ import annotations

import torch
from torch import Tensor

from jepakit.diagnostics.embedding import effective_rank
from jepakit.diagnostics.figures import thinned
from jepakit.registry import register


@register("diagnostic", "spectrum")
class Spectrum:
    """Eigenvalues of the covariance of s_x, and two counts of the directions that carry information.

    ``spectrum/shares`` lists each eigenvalue's share of the total variance, largest first; of more than 64, 64 of them at even distances.
    ``spectrum/participation`` is the participation ratio (Σλ)² / Σλ², 1 if the embedding varies along a line, D if it varies alike in all
    directions. ``spectrum/rank_me`` is RankMe, which does not centre: a large constant part of s_x lowers it.

    Source: Garrido et al. 2023, RankMe, Eqs. 1-2; Jing et al. 2022, Understanding Dimensional Collapse, section 3, for the spectrum.
    """

    def __call__(self, s_x: Tensor) -> dict[str, Tensor]:
        """``s_x`` [M, D] -> figures; shares and participation are NaN if nothing varies."""
        apart = s_x - s_x.mean(dim=0)
        gram = apart.T @ apart if len(s_x) >= s_x.shape[1] else apart @ apart.T  # the same eigenvalues, other than zeros
        eigenvalues = torch.linalg.eigvalsh(gram).flip(0).clamp(min=0)
        total = eigenvalues.sum()
        return {
            "spectrum/shares": thinned(eigenvalues / total),
            "spectrum/participation": total.square() / eigenvalues.square().sum(),
            "spectrum/rank_me": effective_rank(s_x),
        }

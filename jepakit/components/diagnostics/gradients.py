"""The diagnostic kind ``gradients``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from torch import Tensor

from jepakit.diagnostics.figures import by_part, norm
from jepakit.registry import register


@register("diagnostic", "gradients")
class Gradients:
    """How hard each loss term pulls at each part.

    ``gradient_norm_by_term/<part>/<term>`` is the norm of the gradient of the weighted term in one update, ``gradient_norm/<part>`` that of
    their sum, before clipping. Parts are those of the checkpoint: encoder, predictor, algorithm and so on.
    """

    def __call__(self, gradients: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Gradients by loss term and parameter -> figures."""
        figures, sums = {}, defaultdict[str, dict[str, Tensor]](dict)
        for term, found in gradients.items():
            for part, tensors in by_part(found).items():
                figures[f"gradient_norm_by_term/{part}/{term}"] = norm(tensors.values())
                for name, gradient in tensors.items():
                    sums[part][name] = sums[part].get(name, 0) + gradient
        return {f"gradient_norm/{part}": norm(tensors.values()) for part, tensors in sums.items()} | figures

"""The diagnostic kind ``updates``."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from jepakit.diagnostics.figures import by_part, norm
from jepakit.registry import register


@register("diagnostic", "updates")
class Updates:
    """How far one optimizer step moves each part, relative to its weights.

    ``update_ratio/<part>`` is ‖θ after - θ before‖ / ‖θ before‖ of one update.
    """

    def __call__(self, weights_before: Mapping[str, Tensor], weights_after: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters by name, before and after -> figures; NaN for a part whose weights are all zero."""
        steps = {name: weights_after[name] - before for name, before in weights_before.items()}
        moved = by_part(steps)
        return {f"update_ratio/{part}": norm(moved[part].values()) / norm(held.values()) for part, held in by_part(weights_before).items()}

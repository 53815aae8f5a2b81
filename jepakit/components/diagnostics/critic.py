"""The diagnostic kind ``critic``."""

from __future__ import annotations

from torch import Tensor

from jepakit.registry import register


@register("diagnostic", "critic")
class Critic:
    """Whether the critic knows which steps are worth more.

    ``critic/explained_variance`` is 1 - Var(target - value) / Var(target): 1 is a perfect critic, 0 is no better than a constant, below 0
    is worse. ``critic/value`` is the mean value, ``critic/bias`` the mean of value - target. On-policy the values are those with which the
    round computed its advantages; off-policy, the values of now against the TD target.
    """

    def __call__(self, values: Tensor, value_targets: Tensor) -> dict[str, Tensor]:
        """Values and targets [B] -> figures; the explained variance is NaN if all targets are equal."""
        error = value_targets - values
        return {
            "critic/explained_variance": 1 - error.var() / value_targets.var(),
            "critic/value": values.mean(),
            "critic/bias": -error.mean(),
        }

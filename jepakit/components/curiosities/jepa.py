"""The run's own L_JEPA as a surprise."""

from __future__ import annotations

from torch import Tensor

from jepakit.registry import register


@register("curiosity", "jepa")
class JepaSurprise:
    """surprise[t] = d(ŝ_y[t+1], s_y[t+1]): how wrong the run's own predictor was about this step.

    d is the recipe's objective, one step ahead, with the target and the projector of L_JEPA. L_JEPA trains what it consists of, so it has
    no weights and no loss of its own, and costs two passes of an encoder over the collected steps. It fades where the predictor learns, and
    stays where the future is random. Where the embedding collapses, so does the surprise.

    Source: ours, for the JEPA of *JEPA for RL* (Eq. 1). The idea is that of Stadie et al. 2015, Incentivizing Exploration in Reinforcement
    Learning with Deep Predictive Models; with a slow target as in Guo et al. 2022, BYOL-Explore, which predicts further ahead.
    """

    def surprise(self, distance: Tensor) -> Tensor:
        """``distance`` [M] -> [M]."""
        return distance

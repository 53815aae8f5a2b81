"""Model predictive path integral control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from jepakit.components.planners.search import Search
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("planner", "mppi")
class MPPI(Search):
    """Refits the distribution of action sequences to the best of those drawn from it, each weighted by exp(score / temperature).

    Scores are divided by their standard deviation over the sequences, so that a temperature fits envs with any scale of rewards. TD-MPC
    subtracts the largest score only.

    Source: Williams et al. 2015, Model Predictive Path Integral Control using Covariance Variable Importance Sampling; Hansen et al. 2022,
    TD-MPC, section 3, for the elites, the fitted standard deviation and sequences that the policy proposes. Every number here is a choice.

    Args:
        samples: Sequences drawn in each iteration, beside those that the policy proposes.
        elites: How many of the sequences count, the best.
        iterations: How often the distribution is refitted.
        temperature: In standard deviations of the scores; with a high one all elites count the same, with a low one only the best.
        momentum: Share of the old distribution in the refitted one.
        hold: Steps for which each action of a sequence is held, so that a sequence gets further and there is less to search.

    Raises:
        ValueError: There are more elites than samples, or the actions are neither discrete nor bounded real numbers.
    """

    def __init__(
        self,
        action_spec: TensorSpec,
        *,
        samples: PositiveInt = 64,
        elites: PositiveInt = 16,
        iterations: PositiveInt = 3,
        temperature: PositiveFloat = 0.5,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        hold: PositiveInt = 1,
    ) -> None:
        super().__init__(action_spec, samples, elites, iterations, momentum, hold)
        self.temperature = temperature

    def weights(self, scores: Tensor) -> Tensor:
        """A softmax over the best; 0 for all others."""
        best, at = scores.topk(self.elites, dim=-1)
        among = scores.double().where(scores.isfinite(), torch.nan)  # float64: the square of a large score overflows
        mean = among.nanmean(dim=-1, keepdim=True)
        spread = (among - mean).square().nanmean(dim=-1, keepdim=True).sqrt().to(scores).clamp(min=1e-12)
        return torch.zeros_like(scores).scatter(-1, at, ((best - best[:, :1]) / (spread * self.temperature)).softmax(dim=-1))

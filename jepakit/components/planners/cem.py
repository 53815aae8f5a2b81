"""The cross-entropy method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from jepakit.components.planners.search import Search
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("planner", "cem")
class CEM(Search):
    """Refits the distribution of action sequences to the best of those drawn from it, all of which count the same.

    Source: Rubinstein 1999, The Cross-Entropy Method for Combinatorial and Continuous Optimization; Chua et al. 2018, PETS, which plans
    by it on a learned model; Zhou et al. 2025, DINO-WM, on a JEPA's predictor. Every number here is a choice.

    Args:
        samples: Sequences drawn in each iteration, beside those that the policy proposes.
        elites: How many of the sequences count, the best.
        iterations: How often the distribution is refitted.
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
        elites: PositiveInt = 8,
        iterations: PositiveInt = 3,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        hold: PositiveInt = 1,
    ) -> None:
        super().__init__(action_spec, samples, elites, iterations, momentum, hold)

    def weights(self, scores: Tensor) -> Tensor:
        """The same for each of the best, 0 for all others."""
        best, at = scores.topk(self.elites, dim=-1)
        counts = best.isfinite().to(scores)
        return torch.zeros_like(scores).scatter(-1, at, counts / counts.sum(dim=-1, keepdim=True))

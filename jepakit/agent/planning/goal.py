"""Planning towards a goal that can be seen: the predictor's roll-outs, judged by how near they come to the goal's embedding."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from jepakit.agent.planning.rollouts import RollOuts
from jepakit.training.learner import Learner

LEAST_SHARE = 1e-3  #: of what a step changes on average, in any direction: where the predictor changes nothing, distance is finite


class GoalModel(RollOuts):
    """A trained run as a model of the way to a goal. It needs no reward, and no heads beside the predictor.

    The worth of a sequence is -Σ_{k=1..H} d²(ŝ[k], s_goal), or -d²(ŝ[H], s_goal) alone, where ŝ[0] = s_x, ŝ[k+1] is the predictor's, and
    s_goal is the online encoder's embedding of what the env would show at the goal. d is the Euclidean distance or, once `measure_steps`
    was called, d² = Δᵀ C⁻¹ Δ, with C the mean outer product of what one random step changes: distance in units of steps. Directions in
    which embeddings change slowly, such as the room, then count for more.

    Source: Zhou et al. 2025, DINO-WM, section 3.3 (the last step); Sobal et al. 2025, PLDM, section 3.2 (the sum). The metric is ours: of
    decorrelated dimensions with variance 1, C holds the eigenvalues of the random walk's Laplacian (Wu, Tucker and Nachum 2019, The
    Laplacian in RL), so that d approximates its commute time (Fouss et al. 2007, Random-Walk Computation of Similarities).

    Args:
        learner: The trained parts.
        goal: Which steps count.

    Raises:
        UserError: The run has no predictor whose outputs are embeddings.
    """

    def __init__(self, learner: Learner, goal: Literal["sum", "last"]) -> None:
        super().__init__(learner)
        self.goal = goal
        self.scale: Tensor | None = None  #: [D, D]: of differences; None: as they are

    @torch.no_grad()
    def measure_steps(self, starts: Tensor, actions: Tensor) -> None:
        """From now on measure distances in steps: those of the roll-outs over random ``actions`` [N, S, H, ...] from ``starts`` [N, D].

        Where roll-outs overflow, what is finite of them counts. If no step changes anything, distances stay Euclidean.
        """
        changes = self.unrolled(starts, actions).diff(dim=1).flatten(0, 1).double()
        changes = changes[changes.isfinite().all(dim=1)]
        if not changes.any():
            return
        products = changes.T @ changes / len(changes)
        floor = LEAST_SHARE * products.diagonal().mean() * torch.eye(len(products), dtype=products.dtype, device=products.device)
        self.scale = torch.linalg.cholesky(torch.linalg.inv(products + floor)).to(starts)

    @torch.no_grad()
    def score(self, s_x: Tensor, actions: Tensor, s_goal: Tensor) -> Tensor:
        """The worth [N, S] of ``actions`` [N, S, H, ...] from ``s_x`` towards ``s_goal``, both [N, D]."""
        s_hat = self.unrolled(s_x, actions)[:, 1:].unflatten(0, actions.shape[:2])  # [N, S, H, D]
        if self.goal == "last":
            s_hat = s_hat[:, :, -1:]
        apart = s_hat - s_goal[:, None, None]
        return -(apart if self.scale is None else apart @ self.scale).square().sum(dim=(-1, -2))

"""The model that planning asks: the predictor's roll-outs, judged by heads that the run has trained, and by its critic."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from torch import Tensor
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.agent.intent import state_values
from jepakit.agent.planning.rollouts import RollOuts
from jepakit.errors import UserError
from jepakit.protocols import S_X, PredictsReward, PredictsTermination
from jepakit.training.learner import Learner


class WorldModel(RollOuts):
    """A trained run as a model of its task.

    G(a) = Σ_{k<H} γᵏ C_k r̂(ŝ[k], a[k]) + γᴴ C_H V(ŝ[H]), where ŝ[0] = s_x, ŝ[k+1] is the predictor's, and C_k is the probability that the
    episode has not ended before step k.

    Source: Hansen et al. 2022, TD-MPC, Eq. 3, with a learned end of the episode as in Hafner et al. 2021, DreamerV2.

    Args:
        learner: The trained parts.
        gamma: γ, the algorithm's discount.
        value: Whether to add V.

    Raises:
        UserError: The run has no predictor whose outputs are embeddings, no reward model, or no critic though ``value`` is true.
    """

    def __init__(self, learner: Learner, gamma: float, *, value: bool = True) -> None:
        super().__init__(learner)
        self.gamma = gamma
        first = sorted(learner.terms.values(), key=lambda term: "s_hat" not in term.inputs)  # what has learned on predictions
        terms = [term.loss for term in first]
        self.reward = next((term for term in terms if isinstance(term, PredictsReward)), None)
        self.termination = next((term for term in terms if isinstance(term, PredictsTermination)), None)
        if self.reward is None:
            raise UserError(
                "planning needs a model of the reward, which this run has not trained: add `auxiliary: [{kind: reward_model}]` to the "
                "recipe, and `termination_model` where episodes terminate, and run it"
            )
        self.valued = value
        if value and self._values(torch.zeros(1, learner.embedding_width, device=learner.hardware.device)) is None:
            kind = type(learner.algorithm).__name__
            raise UserError(
                f"the run's algorithm, {kind}, has no critic: write `value: false` in the planner, or --planner '{{value: false}}'"
            )

    @torch.no_grad()
    def score(self, s_x: Tensor, actions: Tensor) -> Tensor:
        """G [N, S] of ``actions`` [N, S, H, ...] from ``s_x`` [N, D], in units of the env's rewards. One pass for all envs and samples."""
        s_hat, flat = self.unrolled(s_x, actions), actions.flatten(0, 1)  # [N·S, H + 1, D], [N·S, H, ...]
        before, taken = s_hat[:, :-1].flatten(0, 1), flat.flatten(0, 1)
        steps = flat.shape[:2]
        assert self.reward is not None
        rewards = self.reward.reward(before, taken).unflatten(0, steps)
        alive = torch.ones(steps[0], steps[1] + 1, device=s_x.device)  # C_0 .. C_H
        if self.termination is not None:
            alive[:, 1:] = self.termination.continues(before, taken).unflatten(0, steps).cumprod(dim=1)
        discount = self.gamma ** torch.arange(steps[1] + 1, device=s_x.device)
        worth = (discount * alive)[:, :-1].mul(rewards).sum(dim=1)
        if self.valued and (values := self._values(s_hat[:, -1])) is not None:
            worth = worth + discount[-1] * alive[:, -1] * values
        return worth.unflatten(0, actions.shape[:2])

    def _values(self, s: Tensor) -> Tensor | None:
        """V [B] of embeddings [B, D], in units of the env's rewards; None if there is no critic."""
        with set_exploration_type(ExplorationType.MODE):
            acted = self.head(TensorDict({S_X: s}, batch_size=s.shape[:1]))
        found = state_values(acted, self.learner, self.head)
        return None if found is None else found[1]

"""C51's loss: the cross entropy to the target's distribution of returns, projected onto the atoms."""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.objectives import DistributionalDQNLoss

from jepakit.components.algorithms.off_policy import PRIORITY_WEIGHT, STEPS_TO_NEXT_OBS, TD_ERROR
from jepakit.protocols import ACTION, REWARD, S_X


class C51Loss(DistributionalDQNLoss):
    """-Σ m log p(s, a), where m is the target's distribution after the Bellman step, for the online head's greedy action.

    TorchRL's class holds the heads and their targets. Its own ``forward`` divides to find the atoms next to a return, and rounding can take
    the result beyond the last atom, which raises IndexError: 31 atoms from -10 to 25 are enough. It also lacks Rainbow's priority.

    Source: Bellemare et al. 2017, Algorithm 1; Hessel et al. 2018, Rainbow, for the action and the priority.
    """

    def forward(self, minibatch: TensorDictBase) -> TensorDict:
        """``loss`` [B], weighted by ``priority_weight`` if present; writes ``td_error`` [B] into ``minibatch``: KL(m ‖ p(s, a))."""
        after, rows = minibatch["next"], torch.arange(len(minibatch))
        support = self.value_network_params["support"]
        with torch.no_grad():
            best = self._values(self.value_network_params, after[S_X])[ACTION]
            following = self._values(self.target_value_network_params, after[S_X])["action_value"][rows, :, best].exp()
            discount = ~after["terminated"] * self.gamma ** minibatch[STEPS_TO_NEXT_OBS]  # [B, 1]
            m = project(following, after[REWARD] + discount * support, support)
        log_p = self._values(self.value_network_params, minibatch[S_X])["action_value"][rows, :, minibatch[ACTION]]
        loss = -(m * log_p).sum(dim=-1)
        minibatch[TD_ERROR] = torch.xlogy(m, m).sum(dim=-1) + loss.detach()
        return TensorDict({"loss": loss * minibatch.get(PRIORITY_WEIGHT, 1.0)})

    def _values(self, parameters: TensorDictBase, s_x: Tensor) -> TensorDictBase:
        """``action_value`` [B, atoms, n] (log-probabilities) and the greedy ``action`` [B]."""
        with parameters.to_module(self.value_network):
            return self.value_network(TensorDict({S_X: s_x}, batch_size=s_x.shape[:1]))


def project(p: Tensor, returns: Tensor, support: Tensor) -> Tensor:
    """Project probabilities ``p`` of ``returns``, both [B, M], onto the evenly spaced atoms ``support`` [atoms]: [B, atoms].

    Each return's probability is split between the two nearest atoms; beyond the ends the last atom gets all of it.

    Source: Bellemare et al. 2017, Eq. 7.
    """
    last = len(support) - 1
    place = ((returns - support[0]) / (support[-1] - support[0]) * last).clamp(0, last)  # in units of atoms
    share = (1 - (place[..., None] - torch.arange(last + 1, device=place.device)).abs()).clamp(min=0)  # [B, M, atoms]
    return torch.einsum("bm,bma->ba", p, share)

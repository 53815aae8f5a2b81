"""The roll-outs that planning judges."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.agent.trained import looking_ahead
from jepakit.errors import UserError
from jepakit.protocols import ACTION, S_X
from jepakit.training.learner import Learner
from jepakit.training.terms import JEPA, unroll


class RollOuts:
    """A trained run's predictor, rolled out over sequences of actions.

    Args:
        learner: The trained parts.

    Raises:
        UserError: The run has no predictor whose outputs are embeddings.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.jepa = _predicting(learner)
        self.head: TensorDictModuleBase = learner.algorithm.policy_head()
        self.head.reset_out_keys()  # all that it computes: values, too

    @torch.no_grad()
    def unrolled(self, s_x: Tensor, actions: Tensor) -> Tensor:
        """ŝ[0..H] over ``actions`` [N, S, H, ...] from ``s_x`` [N, D]: [N·S, H + 1, D]. One pass for all envs and samples."""
        start = s_x.repeat_interleave(actions.shape[1], dim=0)
        return torch.cat((start[:, None], unroll(self.jepa.predictor, start, actions.flatten(0, 1))), dim=1)

    @torch.no_grad()
    def proposals(self, s_x: Tensor, count: int, horizon: int) -> Tensor:
        """``count`` sequences for each env that the policy samples along the predictor's roll-outs: [N, count, H, ...]."""
        start = s_x.repeat_interleave(count, dim=0)
        s, actions = start, []
        stepwise = not hasattr(self.jepa.predictor, "unroll")
        with set_exploration_type(ExplorationType.RANDOM):
            for k in range(horizon):
                actions.append(self.head(TensorDict({S_X: s}, batch_size=s.shape[:1]))[ACTION])
                if k + 1 < horizon:
                    so_far = actions[-1:] if stepwise else actions
                    s = unroll(self.jepa.predictor, s if stepwise else start, torch.stack(so_far, dim=1))[:, -1]
        return torch.stack(actions, dim=1).unflatten(0, (len(s_x), count))


def _predicting(learner: Learner) -> JEPA:
    """The learner's JEPA, if roll-outs of its predictor lie where s_x lies.

    Raises:
        UserError: They do not; the message says why.
    """
    jepa = looking_ahead(learner)
    if jepa.projector or jepa.y == "newest":
        how = "behind a projector" if jepa.projector else "with embeddings of the newest frame alone (`jepa.y: newest`)"
        raise UserError(
            f"this run's predictions are compared {how}: they need not lie where s_x lies, and what reads s_x (policy, critic) "
            "cannot judge them"
        )
    return jepa

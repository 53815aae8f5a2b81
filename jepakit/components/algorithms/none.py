"""No RL: for pretraining."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import PositiveInt
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictModuleBase
from torch import Tensor, nn
from torchrl.data import Bounded
from torchrl.envs.utils import ExplorationType, exploration_type

from jepakit.components.algorithms.ranges import Rows
from jepakit.protocols import ACTION, S_X, Embed, Term
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("algorithm", "none")
class NoRL(nn.Module):
    """No RL loss: the encoder learns from L_JEPA, regularizers and auxiliary terms alone. Acts at random where an env is stepped.

    With a ``source`` the recipe's recorded data takes the place of the env.

    Args:
        rollout_steps: T, env steps of each env in one collected batch; with a source, as many recorded steps are drawn for each batch.
        epochs: Passes over each batch, reshuffled each time.
        minibatch_size: Minimum rows in a minibatch. A batch is split into as many equal minibatches as this allows. Null: the whole batch.
    """

    learns: ClassVar = False

    def __init__(
        self,
        action_spec: TensorSpec,
        *,
        rollout_steps: PositiveInt = 128,
        epochs: PositiveInt = 1,
        minibatch_size: Rows | None = 64,
    ) -> None:
        super().__init__()
        self.gradients_to_encoder = False
        self.rollout_steps = rollout_steps
        self.epochs = epochs
        self.minibatch_size = minibatch_size
        self.head = TensorDictModule(RandomAction(action_spec), in_keys=[S_X], out_keys=[ACTION])

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``, only to know how many rows there are; writes a random ``action``."""
        return self.head

    def prepare(self, rollout: TensorDictBase, embed: Embed) -> TensorDictBase:
        """Add nothing to ``rollout``."""
        return rollout

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """None."""
        return {}, {}

    def anneal(self, progress: float) -> None:
        """Do nothing: there are no schedules."""


class RandomAction(nn.Module):
    """Uniform actions; the greedy one is the first, or the middle of the bounds.

    Args:
        spec: Of one env's action.
    """

    low: Tensor
    high: Tensor

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__()
        self.count = 0 if isinstance(spec, Bounded) else int(spec.space.n)
        if isinstance(spec, Bounded):
            self.register_buffer("low", spec.space.low.clone(), persistent=False)
            self.register_buffer("high", spec.space.high.clone(), persistent=False)

    def forward(self, s_x: Tensor) -> Tensor:
        """``s_x`` [*, D] -> int64 [*] or float [*, A]."""
        greedy = exploration_type() in (ExplorationType.MODE, ExplorationType.DETERMINISTIC, ExplorationType.MEAN)
        rows = s_x.shape[:-1]
        if self.count:
            zeros = torch.zeros(rows, dtype=torch.int64, device=s_x.device)
            return zeros if greedy else torch.randint_like(zeros, self.count)
        share = torch.full((*rows, *self.low.shape), 0.5, device=s_x.device)
        return torch.lerp(self.low, self.high, share if greedy else torch.rand_like(share))

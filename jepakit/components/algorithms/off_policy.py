"""What the algorithms that learn from replay share: target networks, heads on s_x, and what their losses read of a minibatch."""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from pydantic import Field
from tensordict import TensorDictBase
from torch import Tensor, nn
from torchrl.modules import MLP
from torchrl.objectives import LossModule
from torchrl.objectives.utils import TargetNetUpdater

from jepakit.components.shared.following import follow, tensors
from jepakit.protocols import ACTION, REWARD, S_X

TD_ERROR = "td_error"  #: float [B], written by the losses: what prioritised replay draws by
PRIORITY_WEIGHT = "priority_weight"  #: float [B], of prioritised replay alone
STEPS_TO_NEXT_OBS = "steps_to_next_obs"  #: int64 [B, 1]: bootstrapped values are discounted by γ to this power

Decay = Annotated[float, Field(ge=0, lt=1)]


class TargetNetworks(nn.Module):
    """θ̄ <- decay · θ̄ + (1 - decay) · θ after every ``every``-th optimizer step, for the encoder and for a critic's heads.

    Buffers that are not floating-point are copied.

    Args:
        encoder: The online encoder; the target starts as an exact copy.
        loss: TorchRL's loss, which holds the heads and their targets.
        network: The heads' name in it.
        decay: Share of θ̄ that is kept; 0 copies θ.
        every: Optimizer steps between two updates.
    """

    updates: Tensor

    def __init__(self, encoder: nn.Module, loss: LossModule, network: str, decay: float, every: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.decay = decay
        self.every = every
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))  # in the checkpoint: a resumed run goes on in step
        self._heads = (loss, network)  # a tuple, because a module that is an attribute is registered
        TargetNetUpdater(loss)  # the loss warns unless it knows of one; TorchRL's own would leave the encoder behind

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Follow the online ``encoder`` and the heads; called after the optimizer's step."""
        self.updates += 1
        if self.updates % self.every:
            return
        loss, network = self._heads
        heads, target_heads = getattr(loss, f"{network}_params"), getattr(loss, f"target_{network}_params")
        names = list(heads.keys(include_nested=True, leaves_only=True))
        follow([target_heads[name] for name in names], [heads[name] for name in names], self.decay)
        follow(tensors(self.encoder), tensors(encoder), self.decay)


def make_mlp(width: int, hidden: tuple[int, ...], out: int | tuple[int, ...]) -> MLP:
    """A ReLU MLP on s_x, or on s_x and an action beside it: ``width`` columns in, ``out`` behind the leading dimensions out."""
    return MLP(in_features=width, out_features=out, num_cells=list(hidden), activation_class=nn.ReLU)


def loss_inputs(minibatch: TensorDictBase, reward_scale: float) -> TensorDictBase:
    """A shallow copy of what TorchRL's losses read of ``minibatch`` [B], rewards multiplied."""
    after = [("next", key) for key in (S_X, REWARD, "terminated", "done")]
    inputs = minibatch.select(S_X, ACTION, STEPS_TO_NEXT_OBS, PRIORITY_WEIGHT, *after, strict=False)
    inputs["next", REWARD] = inputs["next", REWARD] * reward_scale
    return inputs

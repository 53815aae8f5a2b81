"""Shared by the algorithms that learn from replay: target networks, heads on s_x, and the inputs of TorchRL's losses."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from tensordict import TensorDictBase
from torch import nn
from torchrl.modules import MLP
from torchrl.objectives import LossModule
from torchrl.objectives.utils import TargetNetUpdater

from jepakit.components.algorithms.noisy import NoisyLinear
from jepakit.components.shared.counted import Counted
from jepakit.components.shared.following import follow, tensors
from jepakit.protocols import ACTION, REWARD, S_X, VIEWS

TD_ERROR = "td_error"  #: float [B], written by the losses: prioritised replay makes priorities of it
PRIORITY_WEIGHT = "priority_weight"  #: float [B], from prioritised replay only
STEPS_TO_NEXT_OBS = "steps_to_next_obs"  #: int64 [B, 1]: bootstrapped values are discounted by γ to this power

Decay = Annotated[float, Field(ge=0, lt=1)]


class TargetNetworks(Counted):
    """θ̄ <- decay · θ̄ + (1 - decay) · θ after every ``every``-th optimizer step, for the encoder and for a critic's heads.

    Integer buffers are copied.

    Args:
        encoder: The online encoder; the target starts as an exact copy.
        loss: TorchRL's loss module, which holds the heads and their targets.
        network: Name of the heads in ``loss``.
        decay: Share of θ̄ that an update keeps; 0 copies θ.
        every: Optimizer steps between two updates.
        encoder_decay: The same for the encoder's θ̄; None: as ``decay``.
    """

    def __init__(
        self, encoder: nn.Module, loss: LossModule, network: str, decay: float, every: int, encoder_decay: float | None = None
    ) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.decay = decay
        self.encoder_decay = decay if encoder_decay is None else encoder_decay
        self.every = every
        self._heads = (loss, network)  # in a tuple, so that torch does not register the module here
        TargetNetUpdater(loss)  # only so that the loss does not warn: TorchRL's updater would not update the encoder

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Follow the online ``encoder`` and the heads; call it after each optimizer step."""
        self.updates += 1
        if self.updates % self.every:
            return
        loss, network = self._heads
        heads, target_heads = getattr(loss, f"{network}_params"), getattr(loss, f"target_{network}_params")
        names = list(heads.keys(include_nested=True, leaves_only=True))
        follow([target_heads[name] for name in names], [heads[name] for name in names], self.decay)
        follow(tensors(self.encoder), tensors(encoder), self.encoder_decay)


def make_mlp(width: int, hidden: tuple[int, ...], out: int | tuple[int, ...], noisy_std: float | None = None) -> MLP:
    """A ReLU MLP on s_x, or on s_x and an action concatenated: [*, ``width``] -> [*, ``out``]; with ``noisy_std`` its layers are noisy."""
    layer, fields = (nn.Linear, None) if noisy_std is None else (NoisyLinear, {"std": noisy_std})
    return MLP(
        in_features=width,
        out_features=out,
        num_cells=list(hidden),
        activation_class=nn.ReLU,
        layer_class=layer,
        layer_kwargs=fields,
    )


def loss_inputs(minibatch: TensorDictBase, reward_scale: float) -> TensorDictBase:
    """The entries of ``minibatch`` [B] that TorchRL's losses read, shallow-copied, with rewards times ``reward_scale``."""
    after = [("next", key) for key in (S_X, VIEWS, REWARD, "terminated", "done")]
    inputs = minibatch.select(S_X, VIEWS, ACTION, STEPS_TO_NEXT_OBS, PRIORITY_WEIGHT, *after, strict=False)
    inputs["next", REWARD] = inputs["next", REWARD] * reward_scale
    return inputs


def each_view(inputs: TensorDictBase) -> Iterator[TensorDictBase]:
    """``inputs`` [B] once for every view of x: copies whose ``s_x`` are that view's; ``inputs`` itself if there is one view."""
    views = inputs.get(VIEWS)
    if views is None:
        yield inputs
        return
    for s_x in views.unbind(dim=1):
        yield inputs.clone(False).set(S_X, s_x)


def each_next_view(inputs: TensorDictBase) -> Iterator[TensorDictBase]:
    """``inputs`` [B] once for every view of the next stack, as `each_view` does for x."""
    for after in each_view(inputs["next"]):
        yield inputs.clone(False).set("next", after)

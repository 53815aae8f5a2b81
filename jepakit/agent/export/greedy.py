"""The greedy policy as one plain torch module, which torch.export can trace: no TensorDicts, no distributions, no statistics that grow."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from tensordict.nn import ProbabilisticTensorDictModule, TensorDictModule, TensorDictModuleBase, TensorDictSequential
from torch import Tensor, nn
from torch.distributions import Categorical
from torchrl.modules import (
    DistributionalDQNnet,
    DistributionalQValueModule,
    EGreedyModule,
    IndependentNormal,
    QValueModule,
    TanhNormal,
)

from jepakit.components.algorithms.actor_critic import Head
from jepakit.errors import UserError
from jepakit.protocols import ACTION, S_X

Values = dict[str, Tensor]

#: What a policy returns beside its action, as far as its algorithm has it.
PARAMETERS = ("logits", "loc", "scale", "action_value", "state_value", S_X)


class GreedyPolicy(nn.Module):
    """``pixels`` [N, K, C, H, W] -> the greedy ``action``, and the `PARAMETERS` that it comes from.

    Copies of the trained encoder and of the networks of the algorithm's policy head, on the CPU and in fp32.

    Args:
        encoder: The trained encoder.
        head: The algorithm's policy head.
        first_action: The number that the env gives to its first discrete action.

    Raises:
        UserError: The head consists of parts whose greedy action is not known here.
    """

    def __init__(self, encoder: nn.Module, head: TensorDictModuleBase, first_action: int = 0) -> None:
        super().__init__()
        self.encoder = fixed(encoder)
        self.head = nn.ModuleList(_step(part) for part in _parts(fixed(head)) if not isinstance(part, EGreedyModule))
        self.first_action = first_action

    def forward(self, pixels: Tensor) -> Values:
        """``action`` is int64 [N] or float [N, A], in the env's range; ``action_value`` [N, n], ``state_value`` [N], ``s_x`` [N, D]."""
        values = {S_X: self.encoder(pixels).float()}
        for step in self.head:
            values.update(step(values))
        if not values[ACTION].is_floating_point():
            values[ACTION] = values[ACTION] + self.first_action
        if "state_value" in values:
            values["state_value"] = values["state_value"].squeeze(-1)
        return {name: values[name] for name in (ACTION, *PARAMETERS) if name in values}


def fixed(module: nn.Module) -> nn.Module:
    """A copy of ``module`` on the CPU; each part that has noise or running statistics, and so a method ``fixed``, is what that returns."""
    copied = _fixed(copy.deepcopy(module)).cpu().eval()
    return copied.requires_grad_(False)


def _fixed(module: nn.Module) -> nn.Module:
    without: Any = getattr(module, "fixed", None)
    if callable(without):
        replaced: nn.Module = without()
        return replaced
    for name, child in module.named_children():
        setattr(module, name, _fixed(child))
    return module


def _parts(module: Any) -> Iterator[Any]:
    """The head's parts in order, out of all sequences within sequences."""
    if isinstance(module, TensorDictSequential):
        for inner in module.module:
            yield from _parts(inner)
    else:
        yield module


def _step(part: Any) -> nn.Module:
    if isinstance(part, DistributionalQValueModule):
        return Expected(part.support)
    if isinstance(part, QValueModule):
        return Best("action_value", ACTION)
    if isinstance(part, DistributionalDQNnet):
        return LogSoftmax()
    if isinstance(part, ProbabilisticTensorDictModule):
        kind = part.distribution_class
        if issubclass(kind, Categorical):
            return Best("logits", str(part.out_keys[0]))
        if issubclass(kind, TanhNormal):
            return Mean(str(part.out_keys[0]), squashed=True)
        if issubclass(kind, IndependentNormal):
            return Mean(str(part.out_keys[0]), squashed=False)
        raise UserError(f"the policy draws its actions from a {kind.__name__}, whose greedy action export does not know")
    if type(part) in (TensorDictModule, Head) and isinstance(part.module, nn.Module):
        return Network(part.module, [str(key) for key in part.in_keys], [str(key) for key in part.out_keys])
    raise UserError(f"the policy's head has a part that export does not know: {type(part).__name__}")


class Network(nn.Module):
    """A plain network of the head, from named values to named values."""

    def __init__(self, module: nn.Module, reads: list[str], writes: list[str]) -> None:
        super().__init__()
        self.module, self.reads, self.writes = module, reads, writes

    def forward(self, values: Values) -> Values:
        """The values that it writes."""
        out = self.module(*(values[name] for name in self.reads))
        return dict(zip(self.writes, out if isinstance(out, tuple) else (out,), strict=True))


class Best(nn.Module):
    """The action with the largest entry."""

    def __init__(self, reads: str, writes: str) -> None:
        super().__init__()
        self.reads, self.writes = reads, writes

    def forward(self, values: Values) -> Values:
        """``action`` [N]."""
        return {self.writes: values[self.reads].argmax(dim=-1)}


class Mean(nn.Module):
    """The mode of a Gaussian; squashed, tanh of it, kept off ±1 as TorchRL's safe tanh is."""

    def __init__(self, writes: str, squashed: bool) -> None:
        super().__init__()
        self.writes, self.squashed = writes, squashed

    def forward(self, values: Values) -> Values:
        """The action [N, A], before what scales it."""
        loc = values["loc"]
        if not self.squashed:
            return {self.writes: loc}
        most = 1 - torch.finfo(loc.dtype).resolution
        return {self.writes: loc.tanh().clamp(-most, most)}


class LogSoftmax(nn.Module):
    """C51's outputs [N, atoms, n] -> log-probabilities."""

    def forward(self, values: Values) -> Values:
        """``action_value`` [N, atoms, n]."""
        return {"action_value": values["action_value"].log_softmax(dim=-2)}


class Expected(nn.Module):
    """C51's log-probabilities [N, atoms, n] -> Q [N, n] and the best action."""

    support: Tensor

    def __init__(self, support: Tensor) -> None:
        super().__init__()
        self.register_buffer("support", support.detach().clone())

    def forward(self, values: Values) -> Values:
        """``action_value`` [N, n] and ``action`` [N]."""
        q = (values["action_value"].exp() * self.support[:, None]).sum(dim=-2)
        return {"action_value": q, ACTION: q.argmax(dim=-1)}

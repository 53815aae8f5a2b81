"""What a policy expects and intends in one state, for display: a value, and a bar for each action."""

from __future__ import annotations

from typing import NamedTuple

from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.data import TensorSpec

from jepakit.components.shared.actions import span_of
from jepakit.protocols import ACTION, PIXELS, S_X, ActionValued
from jepakit.training.learner import Learner


class Bar(NamedTuple):
    """One discrete action, or one dimension of a continuous one."""

    label: str
    text: str  #: its figure
    fill: float  #: in [0, 1]
    chosen: bool
    origin: float = 0.0  #: where the filling starts, in [0, 1]


class Intent(NamedTuple):
    """A policy's expectation and its action in one state."""

    value_name: str  #: ``V(s)``, ``max Q(s, a)`` or ``Q(s, a)``; empty: the algorithm has no value
    value: float  #: in units of the env's rewards
    bars_name: str  #: what the bars show
    bars: list[Bar]


def intent(acted: TensorDictBase, learner: Learner, head: TensorDictModuleBase, action_spec: TensorSpec) -> Intent:
    """What the policy expects and intends in the first of N states.

    Args:
        acted: All that the policy head has written [N], and ``pixels``.
        learner: The policy's learner.
        head: The policy head.
        action_spec: The spec of one env's action.
    """
    first = acted[:1]
    q = action_values(first, head)
    name, value = _value(first, learner, head)
    return Intent(name, value, *_bars(first, None if q is None else q[0] / reward_scale(learner), action_spec))


def reward_scale(learner: Learner) -> float:
    """The factor on rewards that the algorithm's values are in units of."""
    return float(getattr(learner.algorithm, "reward_scale", 1.0))


def state_values(acted: TensorDictBase, learner: Learner, head: TensorDictModuleBase) -> tuple[str, Tensor] | None:
    """What the policy expects of each of N states, [N], in units of the env's rewards, and its name; None if there is no critic.

    Args:
        acted: All that the policy head has written [N], and ``s_x``, or ``pixels``.
        learner: The policy's learner.
        head: The policy head.
    """
    scale, q = reward_scale(learner), action_values(acted, head)
    if (value := acted.get("state_value", None)) is not None:
        return "V(s)", value.squeeze(-1) / scale
    if q is not None:
        return "max Q(s, a)", q.amax(dim=-1) / scale
    if isinstance(learner.algorithm, ActionValued):
        s_x = acted[S_X] if S_X in acted else learner.embed(acted[PIXELS])
        return "Q(s, a)", learner.algorithm.action_value(s_x, acted[ACTION].to(s_x.device)) / scale
    return None


def action_values(acted: TensorDictBase, head: TensorDictModuleBase) -> Tensor | None:
    """Q [N, n] of all actions, None if the head has none; of distributions of returns (log-probabilities [N, atoms, n]), their means."""
    q: Tensor | None = acted.get("action_value", None)
    if q is None or q.ndim == 2:
        return q
    support = next(module.support for module in head.modules() if isinstance(getattr(module, "support", None), Tensor))
    return (q.exp() * support.to(q.device)[:, None]).sum(dim=-2)


def _value(acted: TensorDictBase, learner: Learner, head: TensorDictModuleBase) -> tuple[str, float]:
    found = state_values(acted, learner, head)
    return (found[0], found[1].item()) if found else ("", 0.0)


def _bars(acted: TensorDictBase, q: Tensor | None, spec: TensorSpec) -> tuple[str, list[Bar]]:
    action = acted[ACTION][0].cpu()
    if action.ndim:  # continuous
        low, high = spec.space.low.flatten(), spec.space.high.flatten()
        span = span_of(low, high)
        shares = ((action - low) / span).clamp(0, 1).tolist()
        middles = (-low / span).clamp(0, 1).tolist()
        figures = zip(action.tolist(), shares, middles, strict=True)
        return "action", [Bar(str(i), f"{value:.2f}", share, True, middle) for i, (value, share, middle) in enumerate(figures)]
    if q is not None:
        spread = max((q.max() - q.min()).item(), 1e-12)
        fills = (0.1 + 0.9 * (q - q.min()) / spread).tolist()
        return "Q(s, a)", [Bar(str(i), f"{each:.3g}", fills[i], i == int(action)) for i, each in enumerate(q.tolist())]
    if (logits := acted.get("logits", None)) is not None:
        probabilities = logits[0].softmax(dim=-1).tolist()
        return "π(a | s)", [Bar(str(i), f"{p:.2f}", p, i == int(action)) for i, p in enumerate(probabilities)]
    count = int(getattr(spec.space, "n", 0))
    return "action", [Bar(str(i), "", float(i == int(action)), i == int(action)) for i in range(count)]

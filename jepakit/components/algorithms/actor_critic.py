"""Shared by the on-policy algorithms: heads on s_x, actors for discrete and continuous actions, GAE on the values stored at acting."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from tensordict import TensorDictBase
from tensordict.nn import (
    AddStateIndependentNormalScale,
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
    TensorDictModuleBase,
    TensorDictSequential,
)
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torch.nn import functional as F
from torchrl.data import Bounded, TensorSpec
from torchrl.modules import MLP, IndependentNormal
from torchrl.objectives.value import GAE

from jepakit.components.algorithms.ranges import Scaling
from jepakit.protocols import ACTION, PIXELS, S_X, Embed

UNSQUASHED = "unsquashed_action"  #: float [*, A]: u, from which tanh and scaling make a continuous action


class Unsquashed(IndependentNormal):
    """The Gaussian of u. Its ``entropy`` is that of tanh(u): a bonus on the entropy of u itself would push actions to saturate.

    H(tanh(u)) = H(u) + E[Σ log(1 - tanh²(u))]. One reparameterised sample estimates the expectation, so gradients pass through.
    """

    def entropy(self) -> Tensor:
        """[*], of actions scaled to [-1, 1], whatever their bounds."""
        u = self.rsample()
        log_slope = 2 * (math.log(2) - u - F.softplus(-2 * u))  # log(1 - tanh²(u)), also where tanh rounds to 1
        return super().entropy() + log_slope.sum(dim=-1)


class Head(TensorDictModuleBase):
    """A network on s_x, whose outputs become entries: what `TensorDictModule` does, which looks on the disk for pandas at every call."""

    def __init__(self, module: nn.Module, out_keys: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.in_keys, self.out_keys = [S_X], list(out_keys)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write the network's outputs for ``s_x`` [*, D] into ``tensordict`` [*]."""
        outputs = self.module(tensordict.get(S_X))
        for key, output in zip(self.out_keys, (outputs,) if isinstance(outputs, Tensor) else outputs, strict=True):
            tensordict.set(key, output)
        return tensordict


def make_actor(width: int, action_spec: TensorSpec, hidden: tuple[int, ...], initial_std: float) -> ProbabilisticTensorDictSequential:
    """The policy π(a | s_x): logits for discrete actions, a Gaussian of u for continuous ones.

    For continuous actions, log-probabilities are those of u. Squashing adds a term that depends on u alone, so it cancels in ratios and in
    gradients. Log-probabilities of the action itself would need the inverse of tanh, which rounding spoils near the bounds. The standard
    deviation is one parameter per dimension and does not depend on s_x.

    Source: Andrychowicz et al. 2021, What Matters in On-Policy Reinforcement Learning?, section 3.2: a last layer 100 times smaller, tanh
    instead of clipping, an initial standard deviation of 0.5.

    Raises:
        ValueError: The actions are neither discrete nor bounded real numbers.
    """
    num_actions = getattr(action_spec.space, "n", None)
    if num_actions is not None:
        return _policy(_head(width, hidden, num_actions, gain=0.01), ["logits"], ACTION, Categorical)
    if not (isinstance(action_spec, Bounded) and action_spec.dtype.is_floating_point):
        found = f"{type(action_spec).__name__} of {action_spec.dtype}"
        raise ValueError(f"actions must be discrete or bounded real numbers; this env's are {found}")
    size = action_spec.shape[-1]
    std = AddStateIndependentNormalScale(size, scale_mapping="exp", init_value=math.log(initial_std))
    return _policy(nn.Sequential(_head(width, hidden, size, gain=0.01), std), ["loc", "scale"], UNSQUASHED, Unsquashed)


def make_critic(width: int, hidden: tuple[int, ...]) -> Head:
    """V(s_x), under ``state_value`` [*, 1]."""
    return Head(_head(width, hidden, 1, gain=1.0), ["state_value"])


def make_squash(action_spec: TensorSpec) -> nn.Module | None:
    """Maps an actor's samples u [*, A] to actions within their bounds; None for discrete actions, which need no mapping."""
    return nn.Sequential(nn.Tanh(), Scaling(action_spec)) if isinstance(action_spec, Bounded) else None


def policy_head(actor: ProbabilisticTensorDictSequential, squash: nn.Module | None, critic: Head) -> TensorDictSequential:
    """Reads ``s_x``; writes ``action``, ``sample_log_prob``, ``state_value`` and, for continuous actions, u."""
    if squash is None:
        return TensorDictSequential(actor, critic)
    return TensorDictSequential(actor, TensorDictModule(squash, in_keys=[UNSQUASHED], out_keys=[ACTION]), critic)


@torch.no_grad()
def add_advantages(rollout: TensorDictBase, embed: Embed, critic: Head, gae: GAE, reward_scale: float) -> TensorDictBase:
    """Add ``advantage`` and ``value_target`` to ``rollout`` [N, T], from the values stored at acting.

    Only a stack whose successor is not in the rollout is encoded again: at truncation, and at the last step.
    """
    value, ended = rollout["state_value"], rollout["next", "done"]
    next_value = torch.cat((value[:, 1:], torch.zeros_like(value[:, :1])), dim=1)
    elsewhere = ended.clone()
    elsewhere[:, -1] = True  # the successor is not the rollout's next row ...
    elsewhere &= ~rollout["next", "terminated"]  # ... and GAE needs its value
    rows = elsewhere.squeeze(-1)
    if rows.any():
        next_value[rows] = critic.module(embed(rollout["next", PIXELS][rows]))
    targets = rollout.select("state_value", ("next", "done"), ("next", "terminated"))
    targets["next", "state_value"] = next_value
    targets["next", "reward"] = rollout["next", "reward"] * reward_scale
    gae(targets)
    return rollout.update(targets.select("advantage", "value_target"))


def policy_figures(actor: ProbabilisticTensorDictSequential, steps: TensorDictBase) -> dict[str, Tensor]:
    """On ``steps`` [B] the policy's ``entropy``, and ``kl`` from the policy that acted to it: the mean of r - 1 - log r over the ratios r.

    Source: Schulman 2020, Approximating KL Divergence, k3.
    """
    policy, log_ratio = policy_and_log_ratio(actor, steps)
    return {"entropy": policy.entropy().mean(), "kl": (log_ratio.exp() - 1 - log_ratio).mean()}


def policy_and_log_ratio(actor: ProbabilisticTensorDictSequential, steps: TensorDictBase) -> tuple[Distribution, Tensor]:
    """π(· | s_x) of ``steps`` [B], and log π(a | s_x) - log π_acting(a | s_x) [B] of their actions."""
    policy = actor.get_dist(steps.select(S_X))
    (sample,) = actor.dist_sample_keys
    return policy, policy.log_prob(steps[sample]) - steps["sample_log_prob"]


def values_and_targets(steps: TensorDictBase) -> tuple[Tensor, Tensor]:
    """The values stored at acting and their targets, both [B]."""
    return steps["state_value"].squeeze(-1), steps["value_target"].squeeze(-1)


def _policy(network: nn.Module, parameters: list[str], sample: str, distribution: type[Distribution]) -> ProbabilisticTensorDictSequential:
    return ProbabilisticTensorDictSequential(
        Head(network, parameters),
        ProbabilisticTensorDictModule(
            in_keys=parameters,
            out_keys=[sample],
            distribution_class=distribution,
            distribution_kwargs={"validate_args": False},  # the learner refuses what is not finite, once for all terms
            return_log_prob=True,
            log_prob_key="sample_log_prob",
            default_interaction_type="random",
        ),
    )


def _head(width: int, hidden: tuple[int, ...], out: int, gain: float) -> MLP:
    """A tanh MLP with orthogonal initial weights (Andrychowicz et al. 2021: a small last layer of the actor matters)."""
    mlp = MLP(in_features=width, out_features=out, num_cells=list(hidden), activation_class=nn.Tanh)
    linears = [layer for layer in mlp if isinstance(layer, nn.Linear)]
    for layer in linears:
        nn.init.orthogonal_(layer.weight, gain=gain if layer is linears[-1] else 2**0.5)
        nn.init.zeros_(layer.bias)
    return mlp

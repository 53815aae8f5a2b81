"""Soft actor-critic on a precomputed s_x."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import (
    NormalParamExtractor,
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
    TensorDictModuleBase,
    TensorDictSequential,
)
from torch import Tensor, nn
from torch.distributions import Categorical as CategoricalDistribution
from torch.distributions import Distribution
from torchrl.data import Bounded, Categorical, TensorSpec
from torchrl.modules import TanhNormal
from torchrl.objectives import DiscreteSACLoss, LossModule, SACLoss
from torchrl.objectives.sac import compute_rsample_log_prob

from jepakit.components.algorithms.off_policy import (
    PRIORITY_WEIGHT,
    TD_ERROR,
    Decay,
    TargetNetworks,
    each_next_view,
    each_view,
    loss_inputs,
    make_mlp,
)
from jepakit.components.algorithms.ranges import Rows, Scaling, Share
from jepakit.protocols import ACTION, S_X, Term
from jepakit.registry import register

TARGET = "target"  #: float [B], what the critics learn to predict
DISCRETE_ENTROPY = 0.3  #: default target entropy as a share of the maximum, log n


@register("algorithm", "sac")
class SAC(nn.Module):
    """Maximum-entropy RL from replay: twin critics, a self-tuning temperature; discrete or bounded continuous actions.

    L_critic = ½ Σᵢ mean((R + γ^m (1 - terminated) V̄(s') - Qᵢ(s, a))²), with V̄(s') = E[min_i Q̄ᵢ(s', a') - α log π(a' | s')] and R the
    m-step return, m at most n; L_actor = mean(E[α log π(a | s) - min_i Qᵢ(s, a)]); L_alpha = -log α · mean(log π + target entropy). The
    expectations over a and a' are exact for discrete actions and use one sample for continuous ones.

    Only L_critic reaches the encoder: the actor reads s_x detached, and L_actor does not train the critics. Q̄ has its own encoder, which
    follows the online encoder as the target critics follow the critics. It embeds s' for the actor, too.

    DrQ (Yarats, Kostrikov and Fergus 2021): the target is averaged over K augmented views of s' (their Eq. 1), each with an a' of its own,
    and L_critic over M augmented views of s (their Eq. 3), all with that target. Their code adds up the M losses: to Adam the same.

    Source: Haarnoja et al. 2018, Soft Actor-Critic Algorithms and Applications, Eqs. 5, 9 and 18 (with log α, as in the authors' code);
    Christodoulou 2019, Soft Actor-Critic for Discrete Action Settings, Eqs. 10 to 12; Yarats et al. 2021, Improving Sample Efficiency in
    Model-Free RL from Images (SAC-AE), for the encoder. Nothing corrects an n-step return for the older policy that collected it.

    Sizes are choices for runs of 100,000 steps: the paper has minibatches of 256 and two hidden layers of 256. Its standard deviation is
    the exponential of a clamped output; here it is a softplus, at least 0.01. SAC-AE and CURL: ``target_decay: 0.99``,
    ``target_encoder_decay: 0.95``, ``target_every: 2``, ``actor_every: 2``. DrQ: the same without ``target_encoder_decay``, and two
    ``views`` and ``next_views``. In all three an update of the actor sees the critics after their step, and the actor reads the online
    encoder's embedding of s'; here all steps are one, and Q̄'s encoder embeds s' for both.

    Args:
        gradients_to_encoder: The paper's ∇: whether L_critic reaches the encoder. L_actor never does.
        rollout_steps: T, env steps of each env between two rounds of updates.
        minibatch_size: B, rows in a minibatch.
        learning_starts: Env steps before the first update; the first policy is close to uniform.
        updates_per_step: Optimizer steps per env step; 1 in the paper.
        gamma: Discount γ.
        n_step: Maximum rewards in a return; an episode's end leaves fewer. 1 in the paper.
        reward_scale: Factor on rewards. Values near 1 keep L_critic's gradients as large as the other terms'.
        target_decay: Share of the target networks that an update of theirs keeps: 1 - τ. τ is 0.005 in the paper.
        target_encoder_decay: The same for their encoder; null: as ``target_decay``.
        target_every: Optimizer steps between two updates of the target networks.
        actor_every: Optimizer steps between two updates of actor and temperature, from the first step on. Between them the records have
            no L_actor and no L_alpha.
        target_entropy: In nats; for continuous actions, of actions on [-1, 1]. Null: minus the action's dimensions (as in the paper) or,
            for n discrete actions, 0.3 · log n: two actions at 95% and 5%. Christodoulou's 0.98 · log n is nearly uniform.
        initial_alpha: Initial temperature α: 0.1 as in SAC-AE; the authors of SAC start at 1.
        hidden: Widths of the hidden layers in the actor and in each critic. They share no layers.
        views: M, augmented views of s over which L_critic is averaged; 2 in DrQ. Each costs a pass of the encoder.
        next_views: K, augmented views of s' over which the target is averaged; 2 in DrQ.
    """

    def __init__(
        self,
        embedding_width: int,
        action_spec: TensorSpec,
        encoder: nn.Module,
        *,
        gradients_to_encoder: bool = True,
        rollout_steps: PositiveInt = 25,
        minibatch_size: Rows = 64,
        learning_starts: NonNegativeInt = 1000,
        updates_per_step: PositiveFloat = 0.25,
        gamma: Share = 0.99,
        n_step: PositiveInt = 1,
        reward_scale: PositiveFloat = 1.0,
        target_decay: Decay = 0.995,
        target_encoder_decay: Decay | None = None,
        target_every: PositiveInt = 1,
        actor_every: PositiveInt = 1,
        target_entropy: float | None = None,
        initial_alpha: PositiveFloat = 0.1,
        hidden: tuple[PositiveInt, ...] = (256,),
        views: PositiveInt = 1,
        next_views: PositiveInt = 1,
    ) -> None:
        super().__init__()
        self.gradients_to_encoder = gradients_to_encoder
        self.rollout_steps = rollout_steps
        self.minibatch_size = minibatch_size
        self.learning_starts = learning_starts
        self.updates_per_step = updates_per_step
        self.gamma = gamma
        self.n_step = n_step
        self.reward_scale = reward_scale
        self.actor_every = actor_every
        self.views = views
        self.next_views = next_views

        make = _discrete if isinstance(action_spec, Categorical) else _continuous
        self.loss = make(embedding_width, action_spec, hidden, target_entropy, initial_alpha)
        self.loss.make_value_estimator(gamma=gamma)
        self.scaling = Scaling(action_spec) if isinstance(action_spec, Bounded) else None
        self.targets = TargetNetworks(encoder, self.loss, "qvalue_network", target_decay, target_every, target_encoder_decay)

    @property
    def bootstrap_encoder(self) -> nn.Module:
        """The target critics' encoder."""
        return self.targets.encoder

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``; writes ``action``."""
        if self.scaling is None:
            return TensorDictSequential(self.loss.actor_network, selected_out_keys=[ACTION])
        scale = TensorDictModule(self.scaling, in_keys=[ACTION], out_keys=[ACTION])
        return TensorDictSequential(self.loss.actor_network, scale, selected_out_keys=[ACTION])

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """L_critic of ``minibatch`` [B] and, once in ``actor_every`` updates, L_actor and L_alpha; weighted by ``priority_weight``, if any.

        Writes ``td_error`` [B] into the minibatch: the larger |TD error| of the two critics, averaged over the views.
        """
        inputs = loss_inputs(minibatch, self.reward_scale)
        if self.scaling is not None:
            inputs[ACTION] = self.scaling.inverse(inputs[ACTION])
        inputs[TARGET] = torch.stack([self.loss.target(seen) for seen in each_next_view(inputs)]).mean(dim=0)  # [B]
        losses, errors = zip(*(self.loss.critic(seen) for seen in each_view(inputs)), strict=True)
        critic, error = torch.stack(losses).mean(dim=0), torch.stack(errors).mean(dim=0)  # [B]
        minibatch[TD_ERROR] = error
        terms = {"critic": Term(0.5, critic.mean())}  # Eq. 5's ½
        figures = {"sac/alpha": self.loss.log_alpha.exp().detach(), "sac/td_error": error.mean()}
        if int(self.targets.updates) % self.actor_every == 0:
            actor, found = self.loss.actor_loss(inputs)
            alpha = self.loss.alpha_loss(found["log_prob"]) * inputs.get(PRIORITY_WEIGHT, 1.0)
            terms = {"actor": Term(1.0, actor.mean()), **terms, "alpha": Term(1.0, alpha.mean())}
            figures["sac/entropy"] = -found["log_prob"].mean()
        return terms, figures

    @torch.no_grad()
    def action_value(self, s_x: Tensor, action: Tensor) -> Tensor:
        """min_i Qᵢ(s, a) [B] of ``action`` [B] or [B, A]."""
        inputs = TensorDict({S_X: s_x, ACTION: action if self.scaling is None else self.scaling.inverse(action)}, batch_size=s_x.shape[:1])
        judged = self.loss._vmap_qnetworkN0(inputs, self.loss.qvalue_network_params)
        if self.scaling is None:
            return judged["action_value"].amin(dim=0).gather(-1, action[:, None]).squeeze(-1)
        return judged["state_action_value"].amin(dim=0).squeeze(-1)

    def updated(self, encoder: nn.Module) -> None:
        """Update the target networks."""
        self.targets.update(encoder)

    def policy_figures(self, steps: TensorDictBase) -> Mapping[str, Tensor]:
        """``entropy`` (for continuous actions estimated, of actions on [-1, 1]) and the temperature ``alpha``."""
        policy = self.loss.actor_network.get_dist(steps.select(S_X))
        entropy = policy.entropy() if self.scaling is None else -compute_rsample_log_prob(policy)[1]
        return {"entropy": entropy.mean(), "alpha": self.loss.log_alpha.exp()}

    def values_and_targets(self, steps: TensorDictBase) -> tuple[Tensor, Tensor]:
        """The smaller of the critics' Q(s, a), and R + γ^m (1 - terminated) V̄(s'), both [B]."""
        inputs = loss_inputs(steps, self.reward_scale)
        if self.scaling is not None:
            inputs[ACTION] = self.scaling.inverse(inputs[ACTION])
        return self.loss.values(inputs).min(dim=0).values, self.loss.target(inputs).flatten()

    def anneal(self, progress: float) -> None:
        """Do nothing: there are no schedules."""


class Squashed(TanhNormal):
    """tanh of a Gaussian. Its greedy action is tanh of the mean, as in Haarnoja et al.: the mode has no closed form."""

    @property
    def mode(self) -> Tensor:
        """TorchRL's deterministic sample."""
        return self.deterministic_sample


class GivenTarget:
    """Mixin for TorchRL's losses: the critics learn a given ``target``, and L_actor trains the actor only.

    TorchRL computes a target of its own within L_critic, and lets L_actor reach s_x.
    """

    def actor_loss(self, tensordict: TensorDictBase) -> tuple[Tensor, dict[str, Tensor]]:
        """L_actor of each row [B], with s_x detached for both the actor and the critics."""
        return super().actor_loss(tensordict.detach())  # type: ignore[misc]


class ContinuousLoss(GivenTarget, SACLoss):
    """SAC's loss for a squashed Gaussian and critics that read s_x and the action."""

    def target(self, inputs: TensorDictBase) -> Tensor:
        """R + γ^m (1 - terminated) V̄(s') of each row [B], without gradient."""
        return super()._compute_target_v2(inputs)

    def critic(self, inputs: TensorDictBase) -> tuple[Tensor, Tensor]:
        """Σᵢ (target - Qᵢ(s, a))² and the larger |TD error| of each row, both [B]."""
        loss, found = self.qvalue_v2_loss(inputs)
        return loss, found["td_error"]

    def values(self, inputs: TensorDictBase) -> Tensor:
        """Qᵢ(s, a) of both critics, [2, B]."""
        critics = self._vmap_qnetworkN0(inputs.select(S_X, ACTION), self.qvalue_network_params)
        return critics["state_action_value"].squeeze(-1)

    def _compute_target_v2(self, tensordict: TensorDictBase) -> Tensor:
        return tensordict[TARGET]


class DiscreteLoss(GivenTarget, DiscreteSACLoss):
    """SAC's loss for logits and critics that return a value for each action."""

    def target(self, inputs: TensorDictBase) -> Tensor:
        """As for continuous actions."""
        return super()._compute_target(inputs)

    def critic(self, inputs: TensorDictBase) -> tuple[Tensor, Tensor]:
        """As for continuous actions."""
        loss, found = self.qvalue_loss(inputs)
        return loss, found["td_error"]

    def values(self, inputs: TensorDictBase) -> Tensor:
        """As for continuous actions."""
        values = self._vmap_qnetworkN0(inputs.select(S_X), self.qvalue_network_params)["action_value"]  # [2, B, n]
        return values.gather(-1, inputs[ACTION].expand(len(values), -1)[..., None]).squeeze(-1)

    def _compute_target(self, tensordict: TensorDictBase) -> Tensor:
        return tensordict[TARGET]


#: Settings of both losses. They return one loss a row; `SAC.losses` averages.
COMMON = {"num_qvalue_nets": 2, "loss_function": "l2", "reduction": "none", "scalar_output_mode": "non_tensor"}


def _discrete(width: int, spec: Categorical, hidden: tuple[int, ...], target_entropy: float | None, alpha: float) -> LossModule:
    actions = spec.space.n
    actor = _policy(make_mlp(width, hidden, actions), ["logits"], CategoricalDistribution)
    critics = [TensorDictModule(make_mlp(width, hidden, actions), in_keys=[S_X], out_keys=["action_value"]) for _ in range(2)]
    entropy = DISCRETE_ENTROPY * math.log(actions) if target_entropy is None else target_entropy
    return DiscreteLoss(actor, critics, action_space="categorical", target_entropy=entropy, alpha_init=alpha, **COMMON)


def _continuous(width: int, spec: TensorSpec, hidden: tuple[int, ...], target_entropy: float | None, alpha: float) -> LossModule:
    if not (isinstance(spec, Bounded) and spec.dtype.is_floating_point):
        raise ValueError(f"actions must be discrete or bounded real numbers; this env's are {type(spec).__name__} of {spec.dtype}")
    size = spec.shape[-1]
    actor = _policy(nn.Sequential(make_mlp(width, hidden, 2 * size), NormalParamExtractor()), ["loc", "scale"], Squashed)
    heads = [make_mlp(width + size, hidden, 1) for _ in range(2)]
    critics = [TensorDictModule(head, in_keys=[S_X, ACTION], out_keys=["state_action_value"]) for head in heads]
    entropy = -float(size) if target_entropy is None else target_entropy
    loss = ContinuousLoss(actor, critics, target_entropy=entropy, alpha_init=alpha, **COMMON)
    _ = loss.target_entropy  # reading it registers its buffer, which a stored state_dict has
    return loss


def _policy(network: nn.Module, parameters: list[str], distribution: type[Distribution]) -> ProbabilisticTensorDictSequential:
    return ProbabilisticTensorDictSequential(
        TensorDictModule(network, in_keys=[S_X], out_keys=parameters),
        ProbabilisticTensorDictModule(
            in_keys=parameters, out_keys=[ACTION], distribution_class=distribution, default_interaction_type="random"
        ),
    )

"""Proximal policy optimisation on a precomputed s_x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from jepakit.components.algorithms.actor_critic import (
    add_advantages,
    make_actor,
    make_critic,
    make_squash,
    policy_and_log_ratio,
    policy_figures,
    policy_head,
    values_and_targets,
)
from jepakit.components.algorithms.ranges import Rows, Share, linear
from jepakit.components.shared.ranks import gathered
from jepakit.protocols import Embed, Term
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec

SMALLEST_STD = 1e-6  #: of advantages, to divide by


@register("algorithm", "ppo")
class PPO(nn.Module):
    """PPO with a clipped ratio and GAE: actor and critic heads on s_x, discrete or bounded continuous actions.

    GAE uses the values stored at collection. Only a stack whose successor is not in the rollout is encoded again: at truncation, and at
    the last step. GAE bootstraps at truncation, not at termination.

    Source: Schulman et al. 2017, Proximal Policy Optimization Algorithms, Eqs. 7 and 9; Schulman et al. 2016 (GAE), Eq. 16. The paper
    *JEPA for RL* fixes PPO and weight 1 on actor and critic (Eq. 3); every number here is a choice.

    Args:
        gradients_to_encoder: The paper's ∇. When false, s_x is detached for the actor *and* the critic.
        rollout_steps: T, env steps of each env in one collected batch.
        epochs: Passes over each collected batch.
        minibatch_size: Minimum rows in a minibatch. A batch is split into as many equal minibatches as this allows. Null: the whole batch.
        clip: ε of the clipped ratio.
        clip_schedule: ``constant``, or ``linear`` to 0 over the run.
        gamma: Discount γ of GAE and of the value targets.
        lmbda: λ of GAE.
        critic_weight: Weight of L_critic, the mean squared error to the value target; 1 in Eq. 3.
        entropy_weight: Weight of the entropy bonus.
        entropy_weight_end: Its weight at the run's end, to which it moves linearly; null: it stays. Below zero it sharpens the policy, so
            that sampled actions come nearer to the best ones.
        reward_scale: Factor on rewards, applied before GAE. Value targets near 1 keep L_critic's gradients as large as the other terms'.
        normalize_advantage: Whether advantages are standardised within each minibatch.
        hidden: Widths of the hidden layers in the actor and in the critic. They share no layers.
        initial_std: Initial standard deviation of continuous actions, on the scale [-1, 1] and before tanh. It is learned, and does not
            depend on s_x. Discrete actions have none.
    """

    def __init__(
        self,
        embedding_width: int,
        action_spec: TensorSpec,
        *,
        gradients_to_encoder: bool = True,
        rollout_steps: PositiveInt = 125,
        epochs: PositiveInt = 4,
        minibatch_size: Rows | None = 64,
        clip: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        clip_schedule: Literal["constant", "linear"] = "constant",
        gamma: Share = 0.99,
        lmbda: Share = 0.95,
        critic_weight: NonNegativeFloat = 1.0,
        entropy_weight: NonNegativeFloat = 0.01,
        entropy_weight_end: FiniteFloat | None = None,
        reward_scale: PositiveFloat = 1.0,
        normalize_advantage: bool = True,
        hidden: tuple[PositiveInt, ...] = (64,),
        initial_std: PositiveFloat = 0.5,
    ) -> None:
        super().__init__()
        self.gradients_to_encoder = gradients_to_encoder
        self.rollout_steps = rollout_steps
        self.epochs = epochs
        self.minibatch_size = minibatch_size
        self.clip = clip
        self.clip_schedule = clip_schedule
        self.critic_weight = critic_weight
        self.entropy_weight = entropy_weight
        self.entropy_weights = None if entropy_weight_end is None else (entropy_weight, entropy_weight_end)
        self.reward_scale = reward_scale
        self.normalize_advantage = normalize_advantage

        self.actor = make_actor(embedding_width, action_spec, hidden, initial_std)
        self.critic = make_critic(embedding_width, hidden)
        self.squash = make_squash(action_spec)
        self.loss = ClipPPOLoss(  # coefficients of 1: the weights are Eq. 3's, applied by the learner
            self.actor,
            self.critic,
            clip_epsilon=clip,
            entropy_coeff=1.0,
            critic_coeff=1.0,
            loss_critic_type="l2",
            normalize_advantage=False,  # `losses` does it, over all ranks
            log_explained_variance=False,  # the diagnostic `critic` does it, and not at every update
            functional=False,  # there are no target networks, and exchanging parameters at every call takes time
        )
        self.gae = GAE(gamma=gamma, lmbda=lmbda, value_network=None)

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``; writes ``action``, ``sample_log_prob`` and ``state_value``."""
        return policy_head(self.actor, self.squash, self.critic)

    def prepare(self, rollout: TensorDictBase, embed: Embed) -> TensorDictBase:
        """Add ``advantage`` and ``value_target`` to ``rollout`` [N, T]."""
        return add_advantages(rollout, embed, self.critic, self.gae, self.reward_scale)

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """L_actor, L_critic and the entropy bonus of ``minibatch`` [B]; logs approximate KL and clip fraction."""
        if self.normalize_advantage:
            advantage, all_ranks = minibatch["advantage"], gathered(minibatch["advantage"])
            minibatch = minibatch.copy().set("advantage", (advantage - all_ranks.mean()) / all_ranks.std().clamp(min=SMALLEST_STD))
        out = self.loss(minibatch)
        terms = {
            "actor": Term(1.0, out["loss_objective"]),
            "critic": Term(self.critic_weight, out["loss_critic"]),
            "entropy": Term(self.entropy_weight, out["loss_entropy"]),
        }
        return terms, {"ppo/kl": out["kl_approx"], "ppo/clip_fraction": out["clip_fraction"]}

    def policy_figures(self, steps: TensorDictBase) -> Mapping[str, Tensor]:
        """``entropy``, ``kl`` from the policy that acted, and ``clip_fraction``, the share of ``steps`` [B] whose ratio is beyond ε."""
        _, log_ratio = policy_and_log_ratio(self.actor, steps)
        beyond = (log_ratio.exp() - 1).abs() > self.loss.clip_epsilon
        return policy_figures(self.actor, steps) | {"clip_fraction": beyond.float().mean()}

    def values_and_targets(self, steps: TensorDictBase) -> tuple[Tensor, Tensor]:
        """V(s_x) at acting, and the target computed from it."""
        return values_and_targets(steps)

    def anneal(self, progress: float) -> None:
        """Set ε and the entropy's weight for this round of updates."""
        if self.entropy_weights:
            self.entropy_weight = linear(*self.entropy_weights, progress)
        if self.clip_schedule == "linear":
            self.loss.clip_epsilon.fill_(self.clip * (1 - progress))

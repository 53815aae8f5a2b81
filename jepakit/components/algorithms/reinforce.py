"""REINFORCE on a precomputed s_x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn
from torchrl.objectives import ReinforceLoss
from torchrl.objectives.value import GAE

from jepakit.components.algorithms.actor_critic import (
    add_advantages,
    make_actor,
    make_critic,
    make_squash,
    policy_figures,
    policy_head,
    values_and_targets,
)
from jepakit.components.algorithms.ranges import Rows, Share
from jepakit.protocols import Embed, Term
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("algorithm", "reinforce")
class Reinforce(nn.Module):
    """REINFORCE: the log-probability of each action, weighted by the return that followed minus a baseline.

    L_actor = -mean(log π(a | s_x) · (G - b)), with G = Σ γ^i r[t+i] to the episode's end and b = V(s_x), learned by
    L_critic = mean((G - V)²). If a truncation or the rollout's end cuts the episode, γ^n V(s_x[t+n]) replaces the missing rewards;
    otherwise G is the Monte Carlo return.

    Source: Williams 1992, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning, Eq. 11. The return
    counts from the step on (Sutton et al. 2000), not over the whole episode. The discount and every number here are choices.

    Args:
        gradients_to_encoder: The paper's ∇. When false, s_x is detached for the actor *and* the critic.
        rollout_steps: T, env steps of each env in one collected batch.
        minibatch_size: Minimum rows in a minibatch. A batch is split into as many equal minibatches as this allows, and each is used once.
            Null: the whole batch. With several minibatches, all but the first update a policy that has already changed.
        baseline: Whether V(s_x) is subtracted from the return. When false, V only completes the returns of cut episodes.
        gamma: Discount γ of the returns.
        critic_weight: Weight of L_critic; 1 in Eq. 3.
        reward_scale: Factor on rewards, applied first. Returns near 1 keep L_critic's gradients as large as the other terms'.
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
        minibatch_size: Rows | None = 250,
        baseline: bool = True,
        gamma: Share = 0.99,
        critic_weight: NonNegativeFloat = 1.0,
        reward_scale: PositiveFloat = 1.0,
        hidden: tuple[PositiveInt, ...] = (64,),
        initial_std: PositiveFloat = 0.5,
    ) -> None:
        super().__init__()
        self.gradients_to_encoder = gradients_to_encoder
        self.rollout_steps = rollout_steps
        self.epochs = 1  # without an importance ratio, a second pass would be off-policy
        self.minibatch_size = minibatch_size
        self.baseline = baseline
        self.critic_weight = critic_weight
        self.reward_scale = reward_scale

        self.actor = make_actor(embedding_width, action_spec, hidden, initial_std)
        self.critic = make_critic(embedding_width, hidden)
        self.squash = make_squash(action_spec)
        self.loss = ReinforceLoss(self.actor, self.critic, loss_critic_type="l2", functional=False)
        (sample,) = self.actor.dist_sample_keys
        self.loss.set_keys(action=sample)
        self.gae = GAE(gamma=gamma, lmbda=1.0, value_network=None)  # λ = 1: the return minus the value

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``; writes ``action``, ``sample_log_prob`` and ``state_value``."""
        return policy_head(self.actor, self.squash, self.critic)

    def prepare(self, rollout: TensorDictBase, embed: Embed) -> TensorDictBase:
        """Add ``value_target`` (G) and ``advantage`` (G - b) to ``rollout`` [N, T]."""
        rollout = add_advantages(rollout, embed, self.critic, self.gae, self.reward_scale)
        return rollout if self.baseline else rollout.set("advantage", rollout["value_target"])

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """L_actor and L_critic of ``minibatch`` [B]; no other metrics."""
        out = self.loss(minibatch)
        return {"actor": Term(1.0, out["loss_actor"]), "critic": Term(self.critic_weight, out["loss_value"])}, {}

    def policy_figures(self, steps: TensorDictBase) -> Mapping[str, Tensor]:
        """``entropy``, and ``kl`` from the policy that acted."""
        return policy_figures(self.actor, steps)

    def values_and_targets(self, steps: TensorDictBase) -> tuple[Tensor, Tensor]:
        """V(s_x) at acting, and the target computed from it."""
        return values_and_targets(steps)

    def anneal(self, progress: float) -> None:
        """Do nothing: there are no schedules."""

"""Advantage actor-critic on a precomputed s_x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn
from torchrl.objectives import A2CLoss
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
from jepakit.components.algorithms.ranges import Rows, Share, linear
from jepakit.protocols import Embed, Term
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("algorithm", "a2c")
class A2C(nn.Module):
    """A3C's update with all envs in step: short rollouts, n-step advantages, one pass over each batch.

    L_actor = -mean(log π(a | s_x) · A), with A = Σ γ^i r[t+i] + γ^n V(s_x[t+n]) - V(s_x[t]), where t + n is the end of the rollout;
    L_critic = mean((R - V)²) with the same return R. The return bootstraps at truncation, not at termination.

    Source: Mnih et al. 2016, Asynchronous Methods for Deep Reinforcement Learning, section 4 and Algorithm S3. The defaults are the
    paper's, except ``critic_weight`` (JEPA for RL, Eq. 3) and the heads, which are choices. The paper sums the gradients of its steps,
    which are averaged here, and trains with RMSProp, at learning rates from 1e-4 to 1e-2. For continuous actions the paper has β = 1e-4,
    and its network outputs the variance.

    Args:
        gradients_to_encoder: The paper's ∇. When false, s_x is detached for the actor *and* the critic.
        rollout_steps: T, env steps of each env in one collected batch; the paper's t_max.
        minibatch_size: Minimum rows in a minibatch. A batch is split into as many equal minibatches as this allows. Null: the whole
            batch, the paper's single update; with several minibatches, all but the first update a policy that has already changed.
        gamma: Discount γ of the returns.
        lmbda: λ of GAE (Schulman et al. 2016, Eq. 16); 1 gives the paper's longest n-step return.
        critic_weight: Weight of L_critic, the mean squared error to the return; 1 in Eq. 3.
        entropy_weight: Weight of the entropy bonus, the paper's β.
        entropy_weight_end: Its weight at the run's end, to which it moves linearly; null: it stays. Below zero it sharpens the policy, so
            that sampled actions come nearer to the best ones.
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
        rollout_steps: PositiveInt = 5,
        minibatch_size: Rows | None = None,
        gamma: Share = 0.99,
        lmbda: Share = 1.0,
        critic_weight: NonNegativeFloat = 1.0,
        entropy_weight: NonNegativeFloat = 0.01,
        entropy_weight_end: FiniteFloat | None = None,
        reward_scale: PositiveFloat = 1.0,
        hidden: tuple[PositiveInt, ...] = (64,),
        initial_std: PositiveFloat = 0.5,
    ) -> None:
        super().__init__()
        self.gradients_to_encoder = gradients_to_encoder
        self.rollout_steps = rollout_steps
        self.epochs = 1  # without an importance ratio, a second pass would be off-policy
        self.minibatch_size = minibatch_size
        self.critic_weight = critic_weight
        self.entropy_weight = entropy_weight
        self.entropy_weights = None if entropy_weight_end is None else (entropy_weight, entropy_weight_end)
        self.reward_scale = reward_scale

        self.actor = make_actor(embedding_width, action_spec, hidden, initial_std)
        self.critic = make_critic(embedding_width, hidden)
        self.squash = make_squash(action_spec)
        self.loss = A2CLoss(  # coefficients of 1: the weights are Eq. 3's, applied by the learner
            self.actor, self.critic, entropy_coeff=1.0, critic_coeff=1.0, loss_critic_type="l2", functional=False
        )
        self.gae = GAE(gamma=gamma, lmbda=lmbda, value_network=None)

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``; writes ``action``, ``sample_log_prob`` and ``state_value``."""
        return policy_head(self.actor, self.squash, self.critic)

    def prepare(self, rollout: TensorDictBase, embed: Embed) -> TensorDictBase:
        """Add ``advantage`` and ``value_target`` to ``rollout`` [N, T]."""
        return add_advantages(rollout, embed, self.critic, self.gae, self.reward_scale)

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """L_actor, L_critic and the entropy bonus of ``minibatch`` [B]; no other metrics."""
        out = self.loss(minibatch)
        terms = {
            "actor": Term(1.0, out["loss_objective"]),
            "critic": Term(self.critic_weight, out["loss_critic"]),
            "entropy": Term(self.entropy_weight, out["loss_entropy"]),
        }
        return terms, {}

    def policy_figures(self, steps: TensorDictBase) -> Mapping[str, Tensor]:
        """``entropy``, and ``kl`` from the policy that acted."""
        return policy_figures(self.actor, steps)

    def values_and_targets(self, steps: TensorDictBase) -> tuple[Tensor, Tensor]:
        """V(s_x) at acting, and the target computed from it."""
        return values_and_targets(steps)

    def anneal(self, progress: float) -> None:
        """Set the entropy's weight for this round of updates."""
        if self.entropy_weights:
            self.entropy_weight = linear(*self.entropy_weights, progress)

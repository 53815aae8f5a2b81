"""An algorithm of your own: it acts and learns on s_x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import torch
from jepakit import Embed, Term, register
from pydantic import Field, PositiveInt
from tensordict import TensorDictBase
from tensordict.nn import (
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
    TensorDictModuleBase,
)
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional as F

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("algorithm", "my_component")
class MyComponent(nn.Module):
    """Actor-critic: L_actor = -mean(log π(a | s_x) · (G - V(s_x))), L_critic = mean((V(s_x) - G)²), for discrete actions.

    G is the discounted return to the end of the episode; if the collected batch cuts it, V of the next stack replaces the rest.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        gradients_to_encoder: The paper's ∇. When false, the learner detaches s_x.
        rollout_steps: T, env steps of each env in one collected batch.
        minibatch_size: Minimum rows in a minibatch.
        gamma: Discount γ.

    Raises:
        ValueError: The env's actions are continuous.
    """

    def __init__(
        self,
        embedding_width: int,
        action_spec: TensorSpec,
        *,
        gradients_to_encoder: bool = True,
        rollout_steps: PositiveInt = 125,
        minibatch_size: Annotated[int, Field(ge=2)] = 250,
        gamma: Annotated[float, Field(ge=0, le=1)] = 0.99,
    ) -> None:
        super().__init__()
        num_actions = getattr(action_spec.space, "n", None)
        if num_actions is None:
            raise ValueError("kind needs discrete actions; this env's are continuous")
        self.gradients_to_encoder = gradients_to_encoder
        self.rollout_steps = rollout_steps
        self.epochs = 1
        self.minibatch_size = minibatch_size
        self.gamma = gamma
        self.actor = nn.Sequential(nn.Linear(embedding_width, 64), nn.Tanh(), nn.Linear(64, num_actions))
        self.critic = nn.Sequential(nn.Linear(embedding_width, 64), nn.Tanh(), nn.Linear(64, 1))

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``; writes ``action`` (and ``logits``)."""
        logits = TensorDictModule(self.actor, in_keys=["s_x"], out_keys=["logits"])
        sample = ProbabilisticTensorDictModule(["logits"], ["action"], distribution_class=Categorical, default_interaction_type="random")
        return ProbabilisticTensorDictSequential(logits, sample)

    @torch.no_grad()
    def prepare(self, rollout: TensorDictBase, embed: Embed) -> TensorDictBase:
        """Add ``return`` [N, T, 1] to ``rollout`` [N, T]; ``embed`` is the online encoder, without gradient."""
        after = rollout["next"]
        following = self.critic(embed(after["pixels"]))  # V of each next stack
        returns = torch.zeros_like(after["reward"])
        for t in reversed(range(rollout.shape[1])):
            rest = following[:, t]
            if t + 1 < rollout.shape[1]:
                rest = torch.where(after["done"][:, t], rest, returns[:, t + 1])
            returns[:, t] = after["reward"][:, t] + self.gamma * rest * ~after["terminated"][:, t]
        return rollout.set("return", returns)

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """The terms of Eq. 3 for ``minibatch`` [B], each with its weight; logs the policy's entropy."""
        policy, value = Categorical(logits=self.actor(minibatch["s_x"])), self.critic(minibatch["s_x"])
        advantage = (minibatch["return"] - value.detach()).squeeze(-1)
        terms = {
            "actor": Term(1.0, -(policy.log_prob(minibatch["action"]) * advantage).mean()),
            "critic": Term(1.0, F.mse_loss(value, minibatch["return"])),
        }
        return terms, {"my_component/entropy": policy.entropy().mean()}

    def anneal(self, progress: float) -> None:
        """Do nothing: there are no schedules."""

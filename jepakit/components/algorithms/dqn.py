"""Deep Q-learning on a precomputed s_x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase, TensorDictSequential
from torch import Tensor, distributions, nn
from torchrl.data import Categorical, TensorSpec
from torchrl.envs.utils import ExplorationType
from torchrl.modules import DistributionalQValueActor, EGreedyModule, QValueActor
from torchrl.objectives import DQNLoss

from jepakit.components.algorithms.c51 import C51Loss
from jepakit.components.algorithms.off_policy import STEPS_TO_NEXT_OBS, TD_ERROR, Decay, TargetNetworks, loss_inputs, make_mlp
from jepakit.components.algorithms.ranges import Rows, Share, linear
from jepakit.protocols import ACTION, REWARD, S_X, Term
from jepakit.registry import register


@register("algorithm", "dqn")
class DQN(nn.Module):
    """Q-learning from replay: double, n-step, optionally dueling, distributional and noisy; ε-greedy, discrete actions.

    L_critic = mean(Huber(R + γ^m (1 - terminated) Q̄(s', a') - Q(s, a))), with R the m-step return, m at most n, and a' the greedy action
    of the online head (``double``) or of the target head. ``distributional`` (C51) learns the distribution of returns over fixed atoms
    instead: L_critic = mean(-Σ p log p(s, a)), where p is the target's distribution after the same Bellman step, projected onto the atoms.

    Q̄ has its own encoder, which follows the online encoder as the target head follows the online head. Only this encoder embeds s'.
    ``double`` therefore picks a' with the online head on the *target's* embedding, where van Hasselt et al. would embed s' twice. As in
    Rainbow, nothing corrects an m-step return for the older policy that collected its rewards.

    ``noisy_std`` makes every layer of the heads noisy (`NoisyLinear`). Each env step draws new noise, which all envs share; each update
    draws it separately for Q, for Q̄ and, if ``double``, for the choice of a'. Greedy evaluation uses no noise. In the papers noise replaces
    ε: set ``epsilon_start`` and ``epsilon_end`` to 0.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning, Algorithm 1 and Methods (the clipped error: Huber);
    van Hasselt et al. 2016, Eq. 4 (double); Wang et al. 2016, Eq. 9 (dueling); Bellemare et al. 2017, Algorithm 1 (C51); Fortunato et
    al. 2018, Eqs. 15 and 16 (noisy); Hessel et al. 2018, Rainbow, for their combination with n-step returns. Sizes and schedules are
    choices for runs of 100,000 steps.

    Args:
        gradients_to_encoder: The paper's ∇: whether L_critic reaches the encoder.
        rollout_steps: T, env steps of each env between two rounds of updates.
        minibatch_size: B, rows in a minibatch.
        learning_starts: Env steps before the first update.
        updates_per_step: Optimizer steps per env step.
        gamma: Discount γ.
        n_step: Maximum rewards in a return; an episode's end leaves fewer.
        reward_scale: Factor on rewards. Values near 1 keep L_critic's gradients as large as the other terms'.
        double: Whether the online head picks the next action; otherwise the target head does. Distributional values are always double.
        dueling: Whether Q is V + A - mean(A), with separate layers for V and A.
        distributional: Whether Q is a distribution over ``atoms`` from ``v_min`` to ``v_max``.
        atoms: Number of atoms; 51 in C51.
        v_min: Return of the lowest atom, in units of scaled rewards; -10 in C51.
        v_max: Return of the highest atom; 10 in C51.
        target_decay: Share of the target network that an update keeps; 0 copies the online network.
        target_every: Optimizer steps between two updates of the target. Mnih et al.: ``target_decay: 0`` with ``target_every: 10000``.
        epsilon_start: Initial probability of a random action.
        epsilon_end: Final probability of a random action.
        epsilon_decay: Share of the run over which ε falls linearly from one to the other.
        noisy_std: Initial standard deviation σ₀ of the noise on the heads' weights; 0.5 in Fortunato et al., 0.1 in data-efficient Rainbow
            (van Hasselt et al. 2019). Null: no noise.
        hidden: Widths of the head's hidden layers; ``dueling`` has two such heads.
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
        n_step: PositiveInt = 3,
        reward_scale: PositiveFloat = 1.0,
        double: bool = True,
        dueling: bool = False,
        distributional: bool = False,
        atoms: Annotated[int, Field(ge=2)] = 51,
        v_min: float = -10.0,
        v_max: float = 10.0,
        target_decay: Decay = 0.99,
        target_every: PositiveInt = 1,
        epsilon_start: Share = 1.0,
        epsilon_end: Share = 0.02,
        epsilon_decay: Annotated[float, Field(gt=0, le=1)] = 0.2,
        noisy_std: PositiveFloat | None = None,
        hidden: tuple[PositiveInt, ...] = (256,),
    ) -> None:
        super().__init__()
        if not isinstance(action_spec, Categorical):
            raise ValueError(f"kind dqn needs discrete actions; this env's are {action_spec.dtype}, which `sac` and `ppo` take")
        if distributional and not double:
            raise ValueError("double false cannot go with distributional true, whose next action is always the online head's")
        if v_min >= v_max:
            raise ValueError(f"v_min {v_min} is not below v_max {v_max}")
        if epsilon_end > epsilon_start:
            raise ValueError(f"epsilon_end {epsilon_end} is above epsilon_start {epsilon_start}")
        self.gradients_to_encoder = gradients_to_encoder
        self.rollout_steps = rollout_steps
        self.minibatch_size = minibatch_size
        self.learning_starts = learning_starts
        self.updates_per_step = updates_per_step
        self.gamma = gamma
        self.n_step = n_step
        self.reward_scale = reward_scale
        self.distributional = distributional
        self.double_q = double
        self.epsilon_start = epsilon_start
        self.epsilon_end = epsilon_end
        self.epsilon_decay = epsilon_decay

        head = Values(embedding_width, action_spec.space.n, hidden, dueling, atoms if distributional else None, noisy_std)
        if distributional:
            support = torch.linspace(v_min, v_max, atoms)
            values = DistributionalQValueActor(head, support, in_keys=[S_X], action_space="categorical")
            values.module[-1].support = support.clone()  # a checkpoint cannot hold two names for one tensor
            self.loss = C51Loss(values, gamma=gamma)
        else:
            values = QValueActor(head, in_keys=[S_X], action_space="categorical")
            self.loss = DQNLoss(
                values, double_dqn=double, loss_function="smooth_l1", action_space="categorical", delay_value=True, reduction="none"
            )
            self.loss.make_value_estimator(gamma=gamma)
        self.loss.deterministic_sampling_mode = ExplorationType.RANDOM  # TorchRL's losses would turn the noise off
        self.explore = EGreedyModule(action_spec, eps_init=epsilon_start, eps_end=epsilon_end)
        self.targets = TargetNetworks(encoder, self.loss, "value_network", target_decay, target_every)

    @property
    def bootstrap_encoder(self) -> nn.Module:
        """The target network's encoder."""
        return self.targets.encoder

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``; writes ``action``: greedy or, while TorchRL explores, random with probability ε."""
        return TensorDictSequential(self.loss.value_network, self.explore, selected_out_keys=[ACTION])

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """L_critic of ``minibatch`` [B], weighted by ``priority_weight`` if present; writes ``td_error`` [B] into the minibatch.

        ``td_error`` is |TD error| or, for distributions, the KL divergence between them, as in Rainbow.
        """
        inputs = loss_inputs(minibatch, self.reward_scale)
        if not self.distributional:
            inputs[ACTION] = inputs[ACTION][:, None]  # to TorchRL, [B] would be ambiguous for B = 1
        loss = self.loss(inputs)["loss"].mean()  # Schaul et al.: divide by the number of rows, not by the sum of weights
        error = inputs[TD_ERROR]
        minibatch[TD_ERROR] = error if self.distributional else error.squeeze(-1).sqrt()  # TorchRL squares it
        return {"critic": Term(1.0, loss)}, {"dqn/td_error": minibatch[TD_ERROR].mean(), "dqn/epsilon": self.explore.eps.clone()}

    def updated(self, encoder: nn.Module) -> None:
        """Update the target network."""
        self.targets.update(encoder)

    def policy_figures(self, steps: TensorDictBase) -> Mapping[str, Tensor]:
        """``epsilon``, the ``greedy_entropy`` of the actions over ``steps`` [B], and the ``action_gap`` between the two best."""
        values = self._expected(self.loss.value_network_params, steps[S_X])  # [B, n]
        best = values.topk(min(2, values.shape[-1]), dim=-1).values
        shares = values.argmax(dim=-1).bincount(minlength=values.shape[-1]) / len(values)
        return {
            "epsilon": self.explore.eps.clone(),
            "greedy_entropy": distributions.Categorical(probs=shares).entropy(),
            "action_gap": (best[:, 0] - best[:, -1]).mean(),
        }

    def values_and_targets(self, steps: TensorDictBase) -> tuple[Tensor, Tensor]:
        """Q(s, a), of distributions their means, and R + γ^m (1 - terminated) Q̄(s', a'), both [B]."""
        after = loss_inputs(steps, self.reward_scale)["next"]
        following = self._expected(self.loss.target_value_network_params, after[S_X])
        online = self._expected(self.loss.value_network_params, after[S_X]) if self.double_q else following
        bootstrap = following.gather(-1, online.argmax(dim=-1, keepdim=True))
        target = after[REWARD] + self.gamma ** steps[STEPS_TO_NEXT_OBS] * ~after["terminated"] * bootstrap  # [B, 1]
        values = self._expected(self.loss.value_network_params, steps[S_X])
        return values.gather(-1, steps[ACTION][:, None]).squeeze(-1), target.squeeze(-1)

    def _expected(self, parameters: TensorDictBase, s_x: Tensor) -> Tensor:
        """Q [B, n] of ``s_x`` [B, D]."""
        with parameters.to_module(self.loss.value_network):
            values = self.loss.value_network(TensorDict({S_X: s_x}, batch_size=len(s_x)))["action_value"]
        return torch.einsum("ban,a->bn", values.exp(), parameters["support"]) if self.distributional else values

    def anneal(self, progress: float) -> None:
        """Set ε."""
        self.explore.eps.fill_(linear(self.epsilon_start, self.epsilon_end, min(1.0, progress / self.epsilon_decay)))


class Values(nn.Module):
    """s_x [*, D] -> Q [*, n] of n actions, or [*, atoms, n] before the softmax over atoms."""

    def __init__(
        self, width: int, actions: int, hidden: tuple[int, ...], dueling: bool, atoms: int | None, noisy_std: float | None
    ) -> None:
        super().__init__()
        rows = () if atoms is None else (atoms,)
        self.advantage = make_mlp(width, hidden, (*rows, actions), noisy_std)
        self.value = make_mlp(width, hidden, (*rows, 1), noisy_std) if dueling else None

    def forward(self, s_x: Tensor) -> Tensor:
        """Wang et al. 2016, Eq. 9, if dueling."""
        advantage = self.advantage(s_x)
        if self.value is None:
            return advantage
        return self.value(s_x) + advantage - advantage.mean(dim=-1, keepdim=True)

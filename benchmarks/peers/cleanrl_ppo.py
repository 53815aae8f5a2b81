"""PPO in one file in the style of CleanRL's `ppo_atari.py`, written for this comparison: the same network, losses and order of steps.

python -m benchmarks.peers.cleanrl_ppo --threads 1
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from benchmarks.peers.frames import Frames
from benchmarks.peers.settings import Clock, Settings, answer

GAMMA, GAE_LAMBDA, CLIP, ENTROPY, VALUE, MAX_GRAD_NORM, LR = 0.99, 0.95, 0.1, 0.01, 0.5, 0.5, 2.5e-4


def layer_init(layer: nn.Module, std: float = 2**0.5) -> nn.Module:
    """A layer with orthogonal weights and no bias yet."""
    nn.init.orthogonal_(layer.weight, std)  # type: ignore[arg-type]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Agent(nn.Module):
    """Nature's network with two heads."""

    def __init__(self, shape: tuple[int, int, int], actions: int) -> None:
        super().__init__()
        convolutions = nn.Sequential(
            layer_init(nn.Conv2d(shape[0], 32, 8, stride=4)),
            nn.ReLU(),
            layer_init(nn.Conv2d(32, 64, 4, stride=2)),
            nn.ReLU(),
            layer_init(nn.Conv2d(64, 64, 3, stride=1)),
            nn.ReLU(),
            nn.Flatten(),
        )
        features = convolutions(torch.zeros(1, *shape)).shape[1]
        self.network = nn.Sequential(convolutions, layer_init(nn.Linear(features, 512)), nn.ReLU())
        self.actor = layer_init(nn.Linear(512, actions), std=0.01)
        self.critic = layer_init(nn.Linear(512, 1), std=1)

    def get_value(self, x: Tensor) -> Tensor:
        """Value of x."""
        return self.critic(self.network(x / 255.0))

    def get_action_and_value(self, x: Tensor, action: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Action, its log-probability, entropy, value."""
        hidden = self.network(x / 255.0)
        probs = Categorical(logits=self.actor(hidden))
        action = probs.sample() if action is None else action
        return action, probs.log_prob(action), probs.entropy(), self.critic(hidden)


def train(args: Settings) -> dict[str, Any]:
    """Train until the clock has seen enough."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    envs = gymnasium.vector.SyncVectorEnv([partial(Frames, args.height, args.width, args.drawing)] * args.envs)
    clock = Clock(args, lambda: sum(env.seconds for env in envs.envs))
    agent = Agent((3, args.height, args.width), int(envs.single_action_space.n))  # type: ignore[attr-defined]
    optimizer = torch.optim.Adam(agent.parameters(), lr=LR, eps=1e-5)

    # ALGO Logic: Storage setup
    obs = torch.zeros((args.steps, args.envs, *envs.single_observation_space.shape))  # type: ignore[misc]
    actions = torch.zeros((args.steps, args.envs))
    logprobs, rewards, dones, values = (torch.zeros((args.steps, args.envs)) for _ in range(4))
    next_obs = torch.Tensor(envs.reset(seed=0)[0])
    next_done = torch.zeros(args.envs)

    while True:
        for step in range(args.steps):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                action, logprob, _, value = agent.get_action_and_value(next_obs)
            actions[step], logprobs[step], values[step] = action, logprob, value.flatten()
            observed, reward, terminations, truncations, _ = envs.step(action.numpy())
            rewards[step] = torch.tensor(reward)
            next_obs, next_done = torch.Tensor(observed), torch.Tensor(np.logical_or(terminations, truncations))

        # bootstrap value if not done
        with torch.no_grad():
            next_value = agent.get_value(next_obs).flatten()
            advantages = torch.zeros_like(rewards)
            lastgaelam: Any = 0
            for t in reversed(range(args.steps)):
                nextnonterminal = 1.0 - (next_done if t == args.steps - 1 else dones[t + 1])
                nextvalues = next_value if t == args.steps - 1 else values[t + 1]
                delta = rewards[t] + GAMMA * nextvalues * nextnonterminal - values[t]
                advantages[t] = lastgaelam = delta + GAMMA * GAE_LAMBDA * nextnonterminal * lastgaelam
            returns = advantages + values

        # flatten the batch
        b_obs, b_actions, b_logprobs = obs.flatten(0, 1), actions.flatten(), logprobs.flatten()
        b_advantages, b_returns, b_values = advantages.flatten(), returns.flatten(), values.flatten()

        # Optimizing the policy and value network
        b_inds = np.arange(args.batch)
        for _ in range(args.epochs):
            np.random.shuffle(b_inds)
            for start in range(0, args.batch, args.minibatch):
                mb_inds = b_inds[start : start + args.minibatch]
                _, newlogprob, entropy, newvalue = agent.get_action_and_value(b_obs[mb_inds], b_actions.long()[mb_inds])
                ratio = (newlogprob - b_logprobs[mb_inds]).exp()
                mb_advantages = b_advantages[mb_inds]
                mb_advantages = (mb_advantages - mb_advantages.mean()) / (mb_advantages.std() + 1e-8)

                pg_loss = torch.max(-mb_advantages * ratio, -mb_advantages * torch.clamp(ratio, 1 - CLIP, 1 + CLIP)).mean()
                newvalue = newvalue.flatten()
                v_clipped = b_values[mb_inds] + torch.clamp(newvalue - b_values[mb_inds], -CLIP, CLIP)
                v_loss = 0.5 * torch.max((newvalue - b_returns[mb_inds]) ** 2, (v_clipped - b_returns[mb_inds]) ** 2).mean()
                loss = pg_loss - ENTROPY * entropy.mean() + VALUE * v_loss

                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRAD_NORM)
                optimizer.step()

        if clock.batch_is_done():
            return clock.figures()


if __name__ == "__main__":
    answer(train, __doc__)

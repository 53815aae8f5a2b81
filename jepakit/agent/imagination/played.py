"""Episodes as the predictor sees them: s_x, s_y, the newest frames, and the actions between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchrl.envs import EnvBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.machine.generators import seed_everything
from jepakit.protocols import ACTION, PIXELS
from jepakit.training.learner import Learner
from jepakit.training.policy import Policy
from jepakit.training.terms import JEPA

Embedded = tuple[Tensor, Tensor, Tensor]  #: s_x, s_y and the newest frame of some stacks


class Played(NamedTuple):
    """L steps of one episode, on the CPU."""

    s_x: Tensor  #: float [L + 1, D]
    s_y: Tensor  #: float [L + 1, P]: the target's embeddings, which predictions are compared with
    frames: Tensor  #: uint8 or float [L + 1, C, H, W]: the newest ones
    actions: Tensor  #: [L, ...]


@torch.no_grad()
def play(
    env: EnvBase, learner: Learner, jepa: JEPA, steps: int, seed: int, on_steps: Callable[[int], object] = lambda _: None
) -> list[Played]:
    """Let the policy, sampling its actions, play at least ``steps`` env steps. Seeds the env and all generators."""
    device, policy = learner.hardware.device, Policy(learner)

    def embedded(pixels: Tensor) -> Embedded:
        on_device = pixels.to(device)
        s_y = jepa.target(jepa.seen(on_device[:, None])[:, 0])
        return learner.encoder(on_device).float().cpu(), s_y.float().cpu(), pixels[:, -1].cpu().clone()

    env.set_seed(seed)
    seed_everything(seed)
    num_envs = env.batch_size[0]
    running: list[list[tuple[Embedded, Tensor]]] = [[] for _ in range(num_envs)]  # observations and the actions taken there
    ended: list[Played] = []
    with set_exploration_type(ExplorationType.RANDOM):
        now = env.reset()
        for _ in range(-(-steps // num_envs)):
            here = embedded(now[PIXELS])
            step, now = env.step_and_maybe_reset(policy(now))
            for n in range(num_envs):
                running[n].append((_row(here, n), step[ACTION][n].clone()))
            over = step["next", "done"].flatten().nonzero().flatten().tolist()
            if over:
                last = embedded(step["next", PIXELS][over])
                for i, n in enumerate(over):
                    ended.append(_played(running[n], _row(last, i)))
                    running[n] = []
            on_steps(num_envs)
        last = embedded(now[PIXELS])
    return ended + [_played(mine, _row(last, n)) for n, mine in enumerate(running) if mine]


def _row(embedded: Embedded, n: int) -> Embedded:
    s_x, s_y, frame = embedded
    return s_x[n], s_y[n], frame[n]


def _played(steps: list[tuple[Embedded, Tensor]], last: Embedded) -> Played:
    s_x, s_y, frames = map(torch.stack, zip(*(here for here, _ in steps), last, strict=False))
    return Played(s_x, s_y, frames, torch.stack([action for _, action in steps]))

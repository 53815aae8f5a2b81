"""What a trained agent sees while it plays, and what its encoder makes of it: the data of a report's map and attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchrl.envs import EnvBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.agent.trained import opened
from jepakit.diagnostics.probes.episodes import states
from jepakit.errors import UserError
from jepakit.protocols import PIXELS, Attentive
from jepakit.training.learner import Learner
from jepakit.training.monitoring.quiet import quietly
from jepakit.training.policy import Policy

STEPS = 300  #: played in each of the N envs
AHEAD = 50  #: steps whose rewards are summed
LOOKED_AT = 3  #: observations whose attention is shown


class Observed(NamedTuple):
    """M observations of the sampled policy's episodes."""

    embeddings: NDArray[np.float64]  #: s_x [M, D]
    values: dict[str, NDArray[np.float64]]  #: [M] by name: the simulator's true state, where the env tells it, and the rewards ahead
    frames: NDArray[np.uint8]  #: of `LOOKED_AT` observations: [F, K, C, H, W]
    attention: NDArray[np.float64] | None  #: of these: [F, K or K/tubelet, rows, columns]; None if the encoder has none to show


@torch.no_grad()
def observe(run: Path, count: int = 400, *, trust: bool = False, warn: Callable[[str], object] = lambda _: None) -> Observed:
    """Play with the newest weights of the run in folder ``run``, and embed ``count`` observations, drawn at random.

    The global random number generators keep their state.

    Raises:
        UserError: The folder holds no run with an intact checkpoint, or its recipe names code and ``trust`` is False.
    """
    with opened(run, best=False, trust=trust, warn=warn) as trained:
        _, env, learner, _ = trained
        seed = trained.held_out_seed
        policy, device = Policy(learner), learner.hardware.device
        embedded: list[Tensor] = []
        rewards: list[Tensor] = []
        over: list[Tensor] = []
        known: list[Tensor] = []
        frames: list[Tensor] = []
        with quietly(learner.parts), set_exploration_type(ExplorationType.RANDOM):
            env.set_seed(seed)
            torch.manual_seed(seed)
            now = env.reset()
            names, state = _state(env)
            for _ in range(STEPS):
                step, after = env.step_and_maybe_reset(policy(now))
                embedded.append(learner.encoder(now[PIXELS].to(device)).float().cpu())
                frames.append(now[PIXELS][0].clone())
                known.append(state)
                rewards.append(step["next", "reward"].flatten().double())
                over.append(step["next", "done"].flatten())
                now = after
                state = _state(env, names)[1]
            looked_at = torch.stack(frames)[torch.linspace(0, STEPS - 1, LOOKED_AT + 2).long()[1:-1]]
            attended = attention(learner, looked_at.to(device))
    ahead = _ahead(torch.stack(rewards), torch.stack(over))  # [STEPS - AHEAD, N]
    chosen = torch.randperm(ahead.numel(), generator=torch.Generator().manual_seed(seed))[:count]
    values = {f"rewards of the next {AHEAD} steps": ahead.flatten()[chosen].numpy()}
    stated = torch.stack(known)[: len(ahead)].flatten(0, 1)[chosen]
    values = {name: stated[:, at].double().numpy() for at, name in enumerate(names)} | values
    s_x = torch.stack(embedded)[: len(ahead)].flatten(0, 1)[chosen]
    return Observed(s_x.double().numpy(), values, looked_at.cpu().numpy(), attended)


def attention(learner: Learner, pixels: Tensor) -> NDArray[np.float64] | None:
    """The attention of the encoder, or of the one within it, over ``pixels`` [F, K, C, H, W]; None if it has none."""
    for module in learner.encoder.modules():
        if isinstance(module, Attentive):
            found = module.attention(pixels)
            return None if found is None else found.double().cpu().numpy()
    return None


def _state(env: EnvBase, names: tuple[str, ...] | None = None) -> tuple[tuple[str, ...], Tensor]:
    """The names of the simulators' state variables and the state, [N, S]; no variables where the env tells none."""
    try:
        return states(env, None, names) if names != () else ((), torch.zeros(env.batch_size[0], 0))
    except UserError:
        return (), torch.zeros(env.batch_size[0], 0)


def _ahead(rewards: Tensor, over: Tensor) -> Tensor:
    """The sum of the next `AHEAD` rewards of the same episode: [T, N] -> [T - AHEAD, N]."""
    total, alive = torch.zeros_like(rewards[AHEAD:]), torch.ones_like(over[AHEAD:])
    for k in range(AHEAD):
        total += rewards[k : k + len(total)] * alive
        alive = alive & ~over[k : k + len(total)]
    return total

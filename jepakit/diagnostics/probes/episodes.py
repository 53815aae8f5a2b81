"""Plays episodes and keeps, of each observation, its embedding and the simulator's true state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from jepakit.errors import UserError, listing, raised_in, shown, told
from jepakit.protocols import ACTION, EPISODE_LENGTH, EPISODE_OVER, PIXELS, HasState

#: ``pixels`` -> s_x [N, D], and z [N, P], in which predictions are compared with targets; None: that is s_x
Embed = Callable[[Tensor], tuple[Tensor, Tensor | None]]
Reader = Callable[[Any], Mapping[str, float]]  #: a simulator -> its state
LONGEST = 120_000  #: env steps of an episode; Atari's longest has 108,000 frames
FOLDS = 4  #: of the episodes to fit on
MEAN = "mean"  #: of all variables: no variable has this name


@dataclass(frozen=True)
class Observations:
    """M observations of whole episodes, those of an episode in their order."""

    names: tuple[str, ...]  #: of the S state variables
    s_x: Tensor  #: float32 [M, D]
    z: Tensor  #: float32 [M, P]; s_x itself where predictions are compared in its space
    state: Tensor  #: float64 [M, S]
    action: Tensor  #: [M, ...], the action taken there; zero where none was
    episode: Tensor  #: int64 [M], a number of its own for each episode
    stretch: Tensor  #: int64 [M], a number of its own for each stretch of steps between two resets

    def of(self, chosen: Tensor) -> Observations:
        """The observations of the episodes with the numbers ``chosen``."""
        rows = torch.isin(self.episode, chosen)
        cut = {name: getattr(self, name)[rows] for name in ("s_x", "state", "action", "episode", "stretch")}
        return replace(self, **cut, z=cut["s_x"] if self.z is self.s_x else self.z[rows])

    def split(self, seed: int) -> tuple[Observations, Tensor, Observations]:
        """By whole episodes: those to fit on, the number of each one's fold, [M], and those held out, which nothing else sees."""
        episodes = self.episode.unique()
        drawn = episodes[torch.randperm(len(episodes), generator=torch.Generator().manual_seed(seed))]
        held_out = max(1, len(drawn) // 3)
        fit, count = self.of(drawn[held_out:]), len(drawn) - held_out
        fold = (drawn[held_out:] == fit.episode[:, None]).int().argmax(dim=1) % min(FOLDS, count)
        return fit, fold, self.of(drawn[:held_out])

    def pairs(self, k: int) -> Tensor:
        """The positions [P] of the observations that have one k steps later in the same stretch."""
        starts = torch.arange(max(0, len(self.stretch) - k))
        return starts[self.stretch[starts] == self.stretch[starts + k]]


@dataclass
class _Log:
    """What is seen while the envs play: rows of all envs, mixed."""

    rows: list[tuple[Tensor, ...]] = field(default_factory=list)

    def add(self, chosen: Tensor, episode: Tensor, stretch: Tensor, embedded: tuple[Tensor, Tensor | None], *values: Tensor) -> None:
        """One row for each env that ``chosen`` [N] names."""
        s_x, z = embedded
        row = (torch.arange(len(chosen)), episode, stretch, s_x, s_x[:, :0] if z is None else z, *values)
        self.rows.append(tuple(each[chosen].cpu() for each in row))

    def observations(self, names: tuple[str, ...]) -> Observations:
        """All rows, env by env."""
        envs, episode, stretch, s_x, z, state, action = (torch.cat(column) for column in zip(*self.rows, strict=True))
        order = envs.argsort(stable=True)
        s_x = s_x[order]
        z = z[order] if z.shape[1] else s_x
        count = len(envs)  # makes an env's numbers its own: none has played more episodes than there are rows
        return Observations(names, s_x, z, state[order], action[order], (envs * count + episode)[order], (envs * count + stretch)[order])


@torch.no_grad()
def play(
    env: EnvBase,
    act: Callable[[TensorDictBase], TensorDictBase],
    embed: Embed,
    episodes: int,
    read: Reader | None = None,
    on_episode: Callable[[], object] = lambda: None,
) -> Observations:
    """Play ``episodes`` episodes, a fixed share in each env.

    The state is read beside the agent: it enters no TensorDict.

    Args:
        env: What is played. It is reset first.
        act: The policy.
        embed: The embeddings of ``pixels``.
        episodes: How many.
        read: Reads a simulator's state; None: as the env knows it.
        on_episode: Called after each episode.

    Raises:
        UserError: The env tells no state, or not one finite number by name each, or an episode does not end within `LONGEST` env steps.
    """
    num_envs = env.batch_size[0]
    quota = torch.tensor([episodes // num_envs + (n < episodes % num_envs) for n in range(num_envs)])
    episode, stretch = torch.zeros(2, num_envs, dtype=torch.int64)
    log = _Log()
    now = env.reset()
    names, state = states(env, read)
    while bool((playing := episode < quota).any()):
        embedded = embed(now[PIXELS])
        stepped = env.step(act(now))
        expect_an_end(stepped["next"])
        log.add(playing, episode, stretch, embedded, state, stepped[ACTION])
        _, state = states(env, read, names)  # before a reset: of the episode's last observation
        done = stepped["next", "done"].flatten()
        over = stepped["next"].get(EPISODE_OVER, stepped["next", "done"]).flatten()
        last = playing & done
        if last.any():
            log.add(last, episode, stretch, embed(stepped["next", PIXELS]), state, torch.zeros_like(stepped[ACTION]))
        for _ in range(int((playing & over).sum())):
            on_episode()
        stretch += done
        episode += over
        now = env.maybe_reset(env.step_mdp(stepped))
        if done.any():
            _, state = states(env, read, names)
    return log.observations(names)


def expect_an_end(observation: TensorDictBase) -> None:
    """Refuse to wait any longer for the ends of episodes.

    Raises:
        UserError: An episode has not ended within `LONGEST` env steps.
    """
    if (longest := int(observation[EPISODE_LENGTH].max())) > LONGEST:
        raise UserError(f"an episode has not ended after {longest - 1:,} env steps: `env.max_episode_steps` ends episodes")


def states(env: EnvBase, read: Reader | None, expected: tuple[str, ...] | None = None) -> tuple[tuple[str, ...], Tensor]:
    """The names of the state variables, and the state of every simulator now: float64 [N, S].

    Raises:
        UserError: The env tells no state, or it is not one finite number by name each, ``expected`` names if given.
    """
    if not isinstance(env, HasState):
        raise UserError(
            f"the env `{type(env).__name__}` tells no true state: give its class a method `true_state` (jepakit.HasState), "
            "which returns {name: number} for each of its simulators"
        )
    try:
        told_by_each = [*env.true_state(read)]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the true state cannot be read: {told(error)} ({raised_in(error)})") from error
    if odd := [each for each in told_by_each if not isinstance(each, Mapping)]:
        raise UserError(f"the true state must be a mapping, {{'position': 0.5}}; it is a {type(odd[0]).__name__}: {shown(repr(odd[0]))}")
    names = expected or tuple(told_by_each[0])
    for each in told_by_each:
        _check(each, names)
    return names, torch.tensor([[float(each[name]) for name in names] for each in told_by_each], dtype=torch.float64)


def _check(state: Mapping[Any, Any], names: tuple[str, ...]) -> None:
    if not names or not all(isinstance(name, str) and name for name in names) or MEAN in names:
        raise UserError(f"the true state must name its numbers, other than `{MEAN}`: {{'position': 0.5}}; it is {shown(repr(state))}")
    if set(state) != set(names):
        odd = sorted(set(state) ^ set(names), key=str)
        raise UserError(f"the true state must have the same names at every step; at times it lacks {listing(map(str, odd))}")
    for name, value in state.items():
        try:
            finite = math.isfinite(float(value))
        except (TypeError, ValueError):
            finite = False
        if not finite:
            raise UserError(f"the true state's `{shown(name)}` must be a finite number; it is {shown(repr(value))}")

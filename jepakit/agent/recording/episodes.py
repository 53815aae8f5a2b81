"""Plays episodes and records them, for pretraining."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.agent.recording.folders import written_to
from jepakit.agent.trained import opened
from jepakit.components.shared.recordings import Writer, actions_of
from jepakit.errors import UserError
from jepakit.machine.generators import alone, seed_everything
from jepakit.machine.hardware import settle
from jepakit.protocols import ACTION, EPISODE_OVER, EPISODE_RETURN, PIXELS
from jepakit.recipe import AnyRecipe, Overrides, Recipe, load_recipe, recipe_id
from jepakit.training.build import build_env
from jepakit.training.monitoring.quiet import same_generators
from jepakit.training.policy import Policy
from jepakit.version import __version__

SEED_OFFSET = 3_000_003  #: added to the recipe's seed: neither training's episodes nor those of an evaluation


class Recorded(NamedTuple):
    """What was recorded."""

    folder: Path
    steps: int
    episodes: int
    frames: int
    mean_return: float | None  #: of the task's episodes that ended; None if none has


class _Player(NamedTuple):
    recipe: Recipe
    env: EnvBase
    policy: Policy | None  #: None: random
    about: dict[str, Any]


def record_episodes(
    origin: AnyRecipe,
    out: str | Path,
    steps: int,
    *,
    random: float | None = None,
    hold: int = 1,
    seed: int | None = None,
    overrides: Overrides = (),
    best: bool = False,
    trust: bool = False,
    warn: Callable[[str], object] = lambda _: None,
    on_steps: Callable[[int], object] = lambda _: None,
) -> Recorded:
    """Play episodes and write them to the folder ``out``, for the source `recording`.

    The global random number generators keep their state.

    Args:
        origin: A recipe as for `run`, whose env is played at random, or a run's folder, whose newest policy acts as in training, exploring.
        out: A new or empty folder.
        steps: Env steps to record, over all envs, rounded up to whole steps of all of them. Episodes that then still run are cut.
        random: Share of the episodes that are played at random; 0 by default if ``origin`` is a run. Drawn at each start of an episode.
        hold: Steps for which a random action is held, on average: after each step it is drawn anew with probability 1 / ``hold``. Long
            held actions explore further (Dabney et al. 2021, Temporally-Extended ε-Greedy Exploration, holds them for a random time, too).
        seed: Seed of the episodes; by default the recipe's seed + 3,000,003.
        overrides: Changes of the recipe; of a run, only of its ``env`` and ``distractions``.
        best: Use the run's best checkpoint, not the newest.
        trust: Whether to run the plug-ins that the run's recipe names.
        warn: Called with a message about each corrupt checkpoint.
        on_steps: Called with the number of steps after each step of all envs.

    Raises:
        UserError: The recipe or the run can't be used, its observations are not frames, or ``out`` is not empty or cannot be written.
    """
    run = Path(origin) if isinstance(origin, str | Path) and (Path(origin) / "recipe.yaml").is_file() else None
    if random is not None and not run:
        raise UserError(
            "a recipe has no policy, so that all its episodes are random; name a run's folder to mix its policy with random play"
        )
    with alone(), same_generators(), _player(origin, run, overrides, best, trust, warn) as player:
        env, share = player.env, 1.0 if player.policy is None else random or 0.0
        if env.observation_spec[PIXELS].dtype != torch.uint8:
            raise UserError(f"the env `{player.recipe.env.kind}` has no frames to record: its observations are state vectors")
        if hold > 1 and not share:
            raise UserError("hold: the policy plays all episodes, and only random actions are held; set `random`, too")
        seed = (player.recipe.seed + SEED_OFFSET) % 2**32 if seed is None else seed
        size = steps * torch.Size(env.frame_shape[1:]).numel()
        with written_to(Path(out), size) as writer:
            returns = _play(env, player.policy, share, hold, steps, seed, writer, on_steps)
            about = {"jepakit": __version__, "seed": seed, "random": share, "hold": hold, **player.about}
            about |= {"env": player.recipe.env.model_dump(mode="json")}
            about |= {"distractions": [each.model_dump(mode="json") for each in player.recipe.distractions]}
            writer.finish(actions_of(env.single_action_spec), about)
    mean = sum(returns) / len(returns) if returns else None
    return Recorded(Path(out), writer.steps, len(writer.episodes), writer.frames, mean)


@contextmanager
def _player(
    origin: AnyRecipe, run: Path | None, overrides: Overrides, best: bool, trust: bool, warn: Callable[[str], object]
) -> Iterator[_Player]:
    if run:
        with opened(run, best=best, trust=trust, warn=warn, overrides=overrides) as trained:
            trained.learner.parts.eval()
            about = {"run": recipe_id(trained.recipe), "env_steps": trained.env_steps}
            yield _Player(trained.recipe, trained.env, Policy(trained.learner), about)
        return
    recipe, _ = settle(load_recipe(origin, overrides))
    with contextlib.closing(build_env(recipe)) as env:
        yield _Player(recipe, env, None, {})


@torch.no_grad()
def _play(
    env: EnvBase,
    policy: Policy | None,
    random: float,
    hold: int,
    steps: int,
    seed: int,
    writer: Writer,
    on_steps: Callable[[int], object],
) -> list[float]:
    """Play and write ``steps`` steps; the returns of the episodes that ended."""
    env.set_seed(seed)
    seed_everything(seed)
    count = env.batch_size[0]
    running = [_Episode() for _ in range(count)]
    at_random = torch.rand(count) < random
    returns: list[float] = []
    held = env.action_spec.zero() if hold == 1 else env.action_spec.rand()
    with set_exploration_type(ExplorationType.RANDOM):
        now = env.reset()
        for _ in range(-(-steps // count)):
            action = held = _some(torch.rand(count) >= 1 / hold, held, env.action_spec.rand()) if hold > 1 else env.action_spec.rand()
            if policy and not at_random.all():
                acted = policy(now)[ACTION]
                action = _some(at_random, action, acted)
            step, now = env.step_and_maybe_reset(now.set(ACTION, action))
            for n, episode in enumerate(running):
                episode.add(step[n])
            over = step["next"].get(EPISODE_OVER, step["next", "done"]).flatten()
            returns += step["next", EPISODE_RETURN].flatten()[over].tolist()
            done = step["next", "done"].flatten()
            for n in done.nonzero().flatten().tolist():
                running[n].write(writer)
                running[n] = _Episode()
            at_random = torch.where(done, torch.rand(count) < random, at_random)
            on_steps(count)
    for episode in running:
        episode.write(writer)
    return returns


def _some(rows: Tensor, of: Tensor, others: Tensor) -> Tensor:
    """The ``rows`` (bool [N]) of one tensor [N, ...], the others of the other."""
    return torch.where(rows.view(-1, *[1] * (of.ndim - 1)), of, others)


class _Episode:
    """An episode as it is played."""

    def __init__(self) -> None:
        self.frames: list[Tensor] = []
        self.actions: list[Tensor] = []
        self.rewards: list[Tensor] = []
        self.terminated = False

    def add(self, step: TensorDictBase) -> None:
        """Add a step of one env."""
        stack = step[PIXELS]  # [K, C, H, W]
        if not self.frames:
            alike = bool((stack == stack[-1:]).all())  # an episode that goes on after a lost life opens with different frames
            self.frames += [stack[-1].clone()] if alike else list(stack.clone())
        self.frames.append(step["next", PIXELS][-1].clone())
        self.actions.append(step[ACTION].clone())
        self.rewards.append(step["next", "reward"].flatten()[0].clone())
        self.terminated = bool(step["next", "terminated"].item())

    def write(self, writer: Writer) -> None:
        """Write it, if it has a step."""
        if self.actions:
            writer.episode(torch.stack(self.frames), torch.stack(self.actions), torch.stack(self.rewards), self.terminated)

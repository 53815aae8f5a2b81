"""Writes a run's replay as a recording."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from jepakit.agent.recording.episodes import Recorded
from jepakit.agent.recording.folders import written_to
from jepakit.components.shared.recordings import actions_of
from jepakit.errors import UserError
from jepakit.machine.hardware import settle
from jepakit.protocols import ACTION, REWARD
from jepakit.recipe import recipe_id
from jepakit.storage.lock import holder, is_locked
from jepakit.storage.manifest import newest_whole
from jepakit.storage.stored import stored_recipe
from jepakit.training.build import build_env, build_learner
from jepakit.training.experience.replay import Replay
from jepakit.training.state import load_replay
from jepakit.version import __version__

Episode = tuple[Tensor, Tensor, Tensor, bool]


def record_replay(run: str | Path, out: str | Path, *, trust: bool = False, warn: Callable[[str], object] = lambda _: None) -> Recorded:
    """Write the replay of the run in folder ``run``, as its newest checkpoint holds it, to the folder ``out``.

    Args:
        run: A run's folder.
        out: A new or empty folder.
        trust: Whether to run the plug-ins that the run's recipe names.
        warn: Called with a message about each corrupt checkpoint.

    Raises:
        UserError: The run has no replay of frames, is running, or has no intact checkpoint, or ``out`` cannot be written.
    """
    run = Path(run)
    recipe, hardware = settle(stored_recipe(run, trust))
    if is_locked(run):
        raise UserError(f"{run} is running ({holder(run)}): wait for it to end, or interrupt it")
    if recipe.source:
        raise UserError(f"{run} has no replay: it has learned from its `source`, the {recipe.source.kind}")
    with contextlib.closing(build_env(recipe)) as env:
        replay = build_learner(recipe, env, hardware).experience
        if not isinstance(replay, Replay):
            raise UserError(
                f"{run} has no replay: `{recipe.algorithm.kind}` learns from fresh steps only; leave --replay out to play its policy"
            )
        if replay.dtype != torch.uint8:
            raise UserError(f"the replay of {run} holds no frames: its observations are state vectors")
        saved = newest_whole(run / "checkpoints", warn, run / "replay")
        if saved is None:
            raise UserError(f"{run} has no intact checkpoint")
        load_replay(saved, run / "replay", replay)
        if not replay.steps:
            raise UserError(f"the replay of {run} is empty")
        with written_to(Path(out), replay.sizes["frames"]) as writer:
            for episode in episodes(replay):
                writer.episode(*episode)
            about = {"jepakit": __version__, "replay": recipe_id(recipe), "env_steps": int(saved.name)}
            about |= {"env": recipe.env.model_dump(mode="json")}
            about |= {"distractions": [each.model_dump(mode="json") for each in recipe.distractions]}
            writer.finish(actions_of(env.single_action_spec), about)
    return Recorded(Path(out), writer.steps, len(writer.episodes), writer.frames, None)


def episodes(replay: Replay) -> Iterator[Episode]:
    """The episodes in a replay, of one env after the other: frames, actions, rewards, and whether it terminated.

    The ring may have overwritten an episode's beginning. What is left then opens with the frames of its first whole stack.
    """
    back = replay.frame_shape.frames - 1
    for env in range(replay.num_envs):
        step = torch.arange(max(0, replay.steps - replay.rows), replay.steps)
        rows = replay.storage.get(step % replay.rows * replay.num_envs + env)
        whole = rows["position"] - rows["age"].clamp(max=back) >= replay.end[env] - replay.slots
        rows = rows[whole]
        ends = rows["done"].flatten().nonzero().flatten().tolist()
        begins = [0, *(end + 1 for end in ends)]
        for begin, end in zip(begins, [*ends, len(rows) - 1], strict=True):
            if begin > end:
                continue
            part = rows[begin : end + 1]
            older = int(part["age"][0].clamp(max=back))
            position = torch.arange(int(part["position"][0]) - older, int(part["position"][-1]) + 2)
            frames = replay.read_frames(torch.full_like(position, env), position)
            yield frames, part[ACTION], part[REWARD].flatten(), bool(part["terminated"][-1].item())

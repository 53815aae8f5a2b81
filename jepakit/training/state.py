"""Everything that determines how a run continues: captured between two batches, and restored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, ValidationError
from torch import Tensor
from torchrl.envs import EnvBase

from jepakit.components.shared import ranks
from jepakit.diagnostics.collapse import CollapseWatch
from jepakit.diagnostics.embedding import EmbeddingProbe
from jepakit.errors import UserError, shown
from jepakit.machine.generators import generators, set_generators
from jepakit.machine.group import from_all
from jepakit.protocols import Restorable
from jepakit.recipe import Recipe
from jepakit.storage.checkpoint import Checkpoint, Tensors, checked_names, load_tensors
from jepakit.storage.folder import RunFolder
from jepakit.storage.manifest import Corrupt, load_state
from jepakit.training.build import build_diagnostics
from jepakit.training.collecting.acting import RunActing
from jepakit.training.collecting.build import build_collector
from jepakit.training.experience.frame_log import FrameLog
from jepakit.training.experience.replay import Replay
from jepakit.training.experience.share import seed_share
from jepakit.training.learner import Learner

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class History:
    """The figures behind the summary, so far."""

    env_steps: int = 0
    progress: float | None = None  #: where the last round of updates set all schedules; None before the first
    episodes: int = 0
    returns: deque[float] = field(default_factory=lambda: deque(maxlen=100))  #: of the last 100 episodes
    return_curve: list[float] = field(default_factory=list)  #: mean of ``returns`` after each batch, from the first finished episode on
    eval_return: float | None = None  #: of the weights of now; None if they have not been evaluated
    updates_skipped: int = 0  #: because loss or gradient was not finite
    latest: dict[str, Any] = field(default_factory=dict)  #: the last train record
    seconds: dict[str, float] = field(default_factory=dict)  #: wall-clock time spent so far, by part: env, policy, learner, checkpoint, …

    def spend(self, part: str, seconds: float) -> None:
        """Count ``seconds`` in for a part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    def return_last(self, episodes: int) -> float | None:
        """Mean return of the last ``episodes`` (at most 100) episodes, or of all so far if fewer have ended; None if none has."""
        return fmean(list(self.returns)[-episodes:]) if self.returns else None


class RunState:
    """Everything that determines how a run continues, between two batches.

    Args:
        recipe: The run's recipe, with hardware resolved.
        env: The recipe's env.
        learner: The recipe's learner.
        folder: Where records and checkpoints go.
    """

    def __init__(self, recipe: Recipe, env: EnvBase, learner: Learner, folder: RunFolder) -> None:
        self.recipe = recipe
        self.env = env
        self.learner = learner
        self.folder = folder
        self.history = History()
        self.collector = build_collector(recipe, env, learner.algorithm)
        self.acting = RunActing(recipe, env, learner, lambda: self.history.env_steps, lambda: self.history.progress)
        self.watch = CollapseWatch(recipe.collapse_threshold)
        self.probe = EmbeddingProbe(learner.encoder, learner.embedding_width, learner.hardware.device, ranks.size(), ranks.gathered)
        self.diagnoses = build_diagnostics(recipe, env, learner)
        replay = learner.experience if isinstance(learner.experience, Replay) else None
        self.frames = FrameLog(folder.replay, replay) if replay else None
        self.stepped = recipe.source is None  #: whether the env is stepped
        can_restore = self.collector.restores and isinstance(env, Restorable) and env.restores_exactly()
        self.exact = self.stepped and can_restore  #: whether a resumed run continues its episodes
        self.lost = False  #: whether a worker was lost, and with it the state of its episodes
        self.generators: dict[str, Any] | None = None  #: of a resumed run: the states of all random number generators


class StoredRank(BaseModel):
    """What each rank has of its own."""

    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)

    probe: Tensor | None
    generators: dict[str, Any]
    env: Any


class Stored(BaseModel):
    """The types of what `capture` returns, checked before use: checksums do not protect against whoever wrote the checkpoint."""

    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)

    env_steps: NonNegativeInt
    progress: Annotated[float, Field(ge=0, le=1)] | None = None  #: absent from older checkpoints
    return_last_100: float | None
    eval_return: float | None = None  #: absent from checkpoints of before there was periodic evaluation
    updates: NonNegativeInt
    bad_updates: NonNegativeInt
    first_bad: str
    updates_skipped: NonNegativeInt = 0  #: absent from older checkpoints
    episodes: NonNegativeInt
    returns: list[float]
    return_curve: list[float]
    latest: dict[str, int | float | None]
    collapsed: bool
    collapsed_at: int | None
    probe: Tensor | None
    diagnostics: dict[str, Any] = {}  #: absent from checkpoints of before there were diagnostics
    curiosity: dict[str, Tensor] = {}  #: the running scale of surprises; empty without curiosity
    generators: dict[str, Any]
    env: Any  #: only the env knows its type
    experience: dict[str, Any]
    frames: list[dict[str, Any]]
    seconds: dict[str, float] = {}  #: absent from older checkpoints
    wall_s: Annotated[NonNegativeFloat, Field(allow_inf_nan=False)]
    metrics_bytes: NonNegativeInt
    other_ranks: list[StoredRank] = []  #: those after the first; absent if there is one process


def capture(run: RunState) -> Checkpoint:
    """The content of a checkpoint of ``run``. With several ranks each calls this, and the first one's result is complete."""
    history, learner = run.history, run.learner
    judged = run.recipe.learns  # otherwise returns are those of random play, and say nothing of the weights
    first, *others = from_all(
        {
            "probe": run.probe.recent if ranks.size() == 1 else _on_device(run.probe.recent, "cpu"),
            "generators": generators(),
            "env": run.collector.snapshot() if run.exact and not run.lost else None,
        }
    )
    state = {
        "env_steps": history.env_steps,
        "progress": history.progress,
        "return_last_100": history.return_last(100) if judged else None,
        "eval_return": history.eval_return if judged else None,
        "updates": learner.updates,
        "bad_updates": learner.bad_updates,
        "first_bad": learner.first_bad,
        "updates_skipped": history.updates_skipped,
        "episodes": history.episodes,
        "returns": list(history.returns),
        "return_curve": history.return_curve,
        "latest": history.latest,
        "collapsed": run.watch.collapsed,
        "collapsed_at": run.watch.collapsed_at,
        "diagnostics": run.diagnoses.state_dict(),
        "curiosity": learner.curiosity.scale.state if learner.curiosity else {},
        **first,
        "experience": learner.experience.state_dict(),
        "frames": run.frames.save() if run.frames else [],
        "seconds": history.seconds,
        "wall_s": run.folder.wall_s,
        "metrics_bytes": run.folder.metrics_bytes(),
        **({"other_ranks": others} if others else {}),
    }
    tensors: Tensors = {}
    plain = _split(state, "", tensors)
    return Checkpoint({"weights": weights(learner), "optimizer": _optimizer(learner), "state": tensors}, plain)


def put_back(run: RunState, path: Path) -> list[str]:
    """Restore the checkpoint ``path`` into a new run of the same recipe, and cut its metrics back to that point.

    The generators' states go to ``run.generators``. They are set last, once the collector exists.

    Returns:
        A message for each thing that could not be restored.

    Raises:
        UserError: The checkpoint is corrupt, or does not fit the recipe's components.
    """
    with _of_this_recipe(path):
        return _put_back(run, path)


def load_replay(path: Path, folder: Path, replay: Replay) -> None:
    """Load only the replay of the checkpoint ``path``, whose frames lie in ``folder``, into an empty one of the same recipe.

    Raises:
        UserError: The checkpoint is corrupt, or does not fit the recipe's components.
    """
    with _of_this_recipe(path):
        state = Stored.model_validate(_joined(load_state(path), load_tensors(path, "state")))
        replay.load_state_dict(state.experience)
        FrameLog(folder, replay).load(state.frames)


@contextmanager
def _of_this_recipe(path: Path) -> Iterator[None]:
    try:
        yield
    except Corrupt as damage:
        raise UserError(f"{path} is corrupt: {damage}") from None
    except ValidationError as error:
        wrong, *_ = error.errors()
        where = ".".join(map(str, wrong["loc"]))
        raise UserError(f"{path} is not a checkpoint of this recipe: `{shown(where)}`: {wrong['msg']}") from error
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path} is not a checkpoint of this recipe: {type(error).__name__}: {error}") from error


def why_inexact(run: RunState) -> str | None:
    """Why a resumed run begins new episodes; None if it does not."""
    if run.exact or not run.stepped:
        return None
    if not run.collector.restores:
        return f"the collector `{run.recipe.collector.kind}` cannot restore its workers' simulators"
    return "this env's simulators cannot be restored exactly"


def _put_back(run: RunState, path: Path) -> list[str]:
    state = Stored.model_validate(_joined(load_state(path), load_tensors(path, "state")))
    if len(state.other_ranks) != ranks.size() - 1:
        raise ValueError(f"it is of {1 + len(state.other_ranks)} ranks, not of {ranks.size()}")
    own = state.other_ranks[ranks.rank() - 1] if ranks.rank() else state
    _anneal(run.learner, run.recipe, state.progress, state.env_steps)  # first: what a schedule keeps in buffers is among the weights
    load_weights(path, run.learner)
    _load_optimizer(path, run.learner)
    for name in ("updates", "bad_updates", "first_bad"):
        setattr(run.learner, name, getattr(state, name))
    run.learner.experience.load_state_dict(state.experience)
    if run.frames:
        run.frames.load(state.frames)
    history = run.history
    history.env_steps, history.progress, history.episodes, history.latest = state.env_steps, state.progress, state.episodes, state.latest
    history.returns = deque(state.returns, maxlen=history.returns.maxlen)
    history.return_curve, history.seconds = state.return_curve, state.seconds
    history.updates_skipped = state.updates_skipped
    run.watch.collapsed, run.watch.collapsed_at = state.collapsed, state.collapsed_at
    run.probe.recent = None if own.probe is None else own.probe.to(run.learner.hardware.device)
    if state.diagnostics:
        run.diagnoses.load_state_dict(_on_device(state.diagnostics, run.learner.hardware.device))
    if run.learner.curiosity:
        run.learner.curiosity.scale.load(state.curiosity)
    lost = []
    if own.env is not None and run.exact:
        run.collector.restore(run.acting, own.env)
    elif run.stepped:
        lost.append(f"{why_inexact(run) or 'the checkpoint holds no simulators'}: new episodes begin")
        run.acting.seed = (run.recipe.seed + history.env_steps) % 2**32  # a seed that the run has not used
        seed_share(run.env, run.acting.seed)
        if run.frames:
            _break_off(run.frames.replay)
    set_generators(own.generators)  # set here to check them; `Loop.run` sets them again, after all else that draws numbers
    run.generators = own.generators
    if lacking := run.folder.go_on_from(state.metrics_bytes, state.wall_s):
        lost.append(f"metrics.jsonl is {lacking:,} bytes shorter than at the checkpoint")
    return lost


def _on_device(value: Any, device: str) -> Any:
    """Every tensor of ``value`` on ``device``."""
    if isinstance(value, dict):
        return {name: _on_device(entry, device) for name, entry in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


def _break_off(replay: Replay) -> None:
    """Truncate running episodes at their last step: the next steps do not continue them."""
    if not replay.steps:
        return
    newest = (replay.steps - 1) % replay.rows * replay.num_envs + torch.arange(replay.num_envs)
    rows = replay.storage.get(newest)
    rows["done"] = torch.ones_like(rows["done"])
    replay.storage.set(newest, rows)
    replay.live.zero_()


def weights(learner: Learner) -> Tensors:
    """Every parameter and buffer by name, each once (TorchRL's loss modules hold theirs twice)."""
    return dict(learner.parts.named_parameters()) | dict(learner.parts.named_buffers())


def load_schedules(path: Path, learner: Learner, recipe: Recipe) -> None:
    """Set all schedules to where the last update before the checkpoint ``path`` had set them.

    Raises:
        UserError: The checkpoint is corrupt.
    """
    with _of_this_recipe(path):
        stored = load_state(path)
        _anneal(learner, recipe, stored.get("progress"), int(stored["env_steps"]))


def _anneal(learner: Learner, recipe: Recipe, progress: float | None, env_steps: int) -> None:
    """Set all schedules to ``progress``; an older checkpoint does not hold it, and there it is the share of the run's env steps."""
    learner.anneal(min(1.0, env_steps / recipe.total_steps if progress is None else progress))


@torch.no_grad()
def load_weights(path: Path, learner: Learner) -> None:
    """Load only the weights of the checkpoint ``path``.

    Raises:
        UserError: The weights are corrupt, not finite, or do not fit the learner's components.
    """
    into = weights(learner)
    try:
        stored = load_tensors(path, "weights")
    except Corrupt as damage:
        raise UserError(f"{path} is corrupt: {damage}") from None
    checked_names(into, stored, path / "weights.safetensors")
    trained = dict(learner.parts.named_parameters())  # a buffer may hold infinity, such as a mask of attention
    if bad := sorted(name for name in trained if not stored[name].isfinite().all()):
        raise UserError(f"{path}: the weights {bad[0]} are not finite; remove it, and the checkpoint before it is used")
    for name, tensor in into.items():
        tensor.copy_(stored[name])


def _optimizer(learner: Learner) -> Tensors:
    state = learner.optimizer.state
    return {
        f"{name}.{key}": value for name, parameter in learner.trained.named_parameters() for key, value in state.get(parameter, {}).items()
    }


def _load_optimizer(path: Path, learner: Learner) -> None:
    # Adam creates its state at its first step, so a new optimizer has none to load into.
    stored = load_tensors(path, "optimizer")
    count = torch.zeros(())
    reached = {name: parameter for name, parameter in learner.trained.named_parameters() if f"{name}.step" in stored}
    expected = {f"{name}.{key}": count if key == "step" else each for name, each in reached.items() for key in ADAM_STATE}
    checked_names(expected, stored, path / "optimizer.safetensors")
    for name, parameter in reached.items():  # a parameter that no gradient has reached yet has no state
        learner.optimizer.state[parameter] = {key: _beside(parameter, stored[f"{name}.{key}"]) for key in ADAM_STATE}


def _beside(parameter: Tensor, tensor: Tensor) -> Tensor:
    """``tensor`` on the parameter's device and, if it is a moment, in the parameter's memory layout: fused Adam assumes both."""
    if tensor.shape == parameter.shape:
        return torch.zeros_like(parameter, requires_grad=False).copy_(tensor)
    return tensor.to(parameter.device)


def _split(value: Any, path: str, tensors: Tensors) -> Any:
    """Move each tensor of ``value`` into ``tensors``, and put a reference in its place."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach()
        return {"$tensor": path}
    if isinstance(value, dict):
        return {name: _split(entry, f"{path}/{name}", tensors) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_split(entry, f"{path}/{number}", tensors) for number, entry in enumerate(value)]
    return value


def _joined(value: Any, tensors: Tensors) -> Any:
    if isinstance(value, dict):
        return tensors[value["$tensor"]] if "$tensor" in value else {name: _joined(entry, tensors) for name, entry in value.items()}
    return [_joined(entry, tensors) for entry in value] if isinstance(value, list) else value

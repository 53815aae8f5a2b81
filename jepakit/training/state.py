"""All that decides how a run goes on: taken of its loop between two batches, and put back."""

from __future__ import annotations

import random
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import UserError
from jepakit.protocols import Restorable
from jepakit.training.checkpoint import Checkpoint, Tensors, checked_names, load_tensors
from jepakit.training.learner import Learner
from jepakit.training.manifest import Damaged, load_state
from jepakit.training.replay import Replay

if TYPE_CHECKING:
    from jepakit.training.loop import Loop

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


def capture(loop: Loop) -> Checkpoint:
    """The state of a loop between two batches."""
    history, learner = loop.history, loop.learner
    state = {
        "env_steps": history.env_steps,
        "return_last_100": history.return_last(100),
        "updates": learner.updates,
        "bad_updates": learner.bad_updates,
        "first_bad": learner.first_bad,
        "episodes": history.episodes,
        "returns": list(history.returns),
        "return_curve": history.return_curve,
        "latest": history.latest,
        "collapsed": loop.watch.collapsed,
        "collapsed_at": loop.watch.collapsed_at,
        "probe": loop.probe.recent,
        "generators": generators(),
        "env": loop.env.snapshot() if isinstance(loop.env, Restorable) and loop.exact else None,
        "experience": learner.experience.state_dict(),
        "frames": loop.frames.save() if loop.frames else [],
        "wall_s": loop.folder.wall_s,
        "metrics_bytes": loop.folder.metrics_bytes(),
    }
    tensors: Tensors = {}
    plain = _split(state, "", tensors)
    return Checkpoint({"weights": weights(learner), "optimizer": _optimizer(learner), "state": tensors}, plain)


def put_back(loop: Loop, path: Path) -> list[str]:
    """Bring a new loop of the same recipe to where the one was that saved the checkpoint ``path``; its metrics are cut back to there.

    The generators' states are left in ``loop.generators``: they are set last, when the collector is there.

    Returns:
        What could not be brought back.

    Raises:
        UserError: The checkpoint was written by other components than the recipe's, or holds something else than a run's state.
    """
    try:
        return _put_back(loop, path)
    except Damaged as damage:
        raise UserError(f"{path} is damaged: {damage}") from None
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path} is no state of this recipe's run: {type(error).__name__}: {error}") from error


def _put_back(loop: Loop, path: Path) -> list[str]:
    state = _joined(load_state(path), load_tensors(path, "state"))
    load_weights(path, loop.learner)
    _load_optimizer(path, loop.learner)
    for name in ("updates", "bad_updates", "first_bad"):
        setattr(loop.learner, name, state[name])
    loop.learner.experience.load_state_dict(state["experience"])
    if loop.frames:
        loop.frames.load(state["frames"])
    history = loop.history
    history.env_steps, history.episodes, history.latest = int(state["env_steps"]), int(state["episodes"]), dict(state["latest"])
    history.returns = deque(state["returns"], maxlen=history.returns.maxlen)
    history.return_curve = state["return_curve"]
    loop.watch.collapsed, loop.watch.collapsed_at = state["collapsed"], state["collapsed_at"]
    loop.probe.recent = None if state["probe"] is None else state["probe"].to(loop.learner.hardware.device)
    lost = []
    if state["env"] is not None and loop.exact:
        loop.env.restore(state["env"])
    else:
        lost.append("this env's simulators cannot be brought back exactly: new episodes begin")
        loop.env.set_seed((loop.recipe.seed + history.env_steps) % 2**32)  # none that the run has seen
        if loop.frames:
            _break_off(loop.frames.replay)
    loop.generators = state["generators"]
    if lacking := loop.folder.go_on_from(state["metrics_bytes"], state["wall_s"]):
        lost.append(f"metrics.jsonl lacks {lacking:,} bytes that it had at the checkpoint")
    return lost


def _break_off(replay: Replay) -> None:
    """The episodes that were going on end with their last step, truncated: what comes next does not follow on them."""
    if not replay.steps:
        return
    newest = (replay.steps - 1) % replay.rows * replay.num_envs + torch.arange(replay.num_envs)
    rows = replay.storage.get(newest)
    rows["done"] = torch.ones_like(rows["done"])
    replay.storage.set(newest, rows)
    replay.live.zero_()


def weights(learner: Learner) -> Tensors:
    """Every parameter and buffer once, by name (TorchRL's loss modules hold theirs a second time)."""
    return dict(learner.parts.named_parameters()) | dict(learner.parts.named_buffers())


@torch.no_grad()
def load_weights(path: Path, learner: Learner) -> None:
    """Load the weights of the checkpoint ``path`` alone.

    Raises:
        UserError: They are of other components than the learner's, or no tensors.
    """
    into = weights(learner)
    try:
        stored = load_tensors(path, "weights")
    except Damaged as damage:
        raise UserError(f"{path} is damaged: {damage}") from None
    checked_names(into, stored, path / "weights.safetensors")
    for name, tensor in into.items():
        tensor.copy_(stored[name])


def _optimizer(learner: Learner) -> Tensors:
    state = learner.optimizer.state
    return {
        f"{name}.{key}": value for name, parameter in learner.trained.named_parameters() for key, value in state.get(parameter, {}).items()
    }


def _load_optimizer(path: Path, learner: Learner) -> None:
    # Adam makes its state at its first step: give it tensors of the right shape to be filled
    stored = load_tensors(path, "optimizer")
    for name, parameter in learner.trained.named_parameters():
        state = {key: _beside(parameter, stored[f"{name}.{key}"]) for key in ADAM_STATE if f"{name}.{key}" in stored}
        if state:  # a parameter that no gradient has reached yet has none
            learner.optimizer.state[parameter] = state


def _beside(parameter: Tensor, tensor: Tensor) -> Tensor:
    """``tensor`` on the parameter's device and, if it is a moment, in the parameter's memory layout: fused Adam takes both for granted."""
    if tensor.shape == parameter.shape:
        return torch.zeros_like(parameter, requires_grad=False).copy_(tensor)
    return tensor.to(parameter.device)


def generators() -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's global generators."""
    version, words, gauss = random.getstate()
    kind, key, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [kind, np.asarray(key).tolist(), position, has_gauss, cached],
        "python": [version, list(words), gauss],
    }


def set_generators(state: dict[str, Any]) -> None:
    """Set Python's, NumPy's and torch's global generators."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, key, *rest = state["numpy"]
    np.random.set_state((kind, np.array(key, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def _split(value: Any, path: str, tensors: Tensors) -> Any:
    """``value`` with each tensor put into ``tensors`` and a reference in its place."""
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

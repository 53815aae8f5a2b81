"""Checkpoints: weights and optimizer as safetensors, counters as JSON, no pickle; each in a new folder, renamed into place when whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jepakit.errors import UserError
from jepakit.training.learner import Learner

KEEP = 2  #: the newest checkpoints that stay
ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


def save_checkpoint(folder: Path, learner: Learner, counters: dict[str, Any]) -> Path:
    """Write ``folder/<env steps>/`` and drop all but the newest ``KEEP``; ``counters`` must hold ``env_steps``."""
    final = folder / f"{counters['env_steps']:012d}"
    if final.exists():  # saved on schedule, and then the run ended
        return final
    partial = folder / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # what an interrupted save left behind
    partial.mkdir(parents=True)
    for name, tensors in (("weights", _weights(learner)), ("optimizer", _optimizer_tensors(learner))):
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, partial / f"{name}.safetensors")
    (partial / "counters.json").write_text(json.dumps(counters | {"updates": learner.updates}, indent=2) + "\n")
    partial.rename(final)
    for old in checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints under ``folder``, oldest first."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())


def load_checkpoint(path: Path, learner: Learner) -> dict[str, Any]:
    """Load weights and optimizer into a learner built from the same recipe; the counters.

    Raises:
        UserError: The checkpoint was written by other parts than the learner's.
    """
    _restore(_weights(learner), load_file(path / "weights.safetensors"), path / "weights.safetensors")
    # Adam makes its state at its first step: give it tensors of the right shape to be filled
    stored = load_file(path / "optimizer.safetensors")
    for name, parameter in learner.trained.named_parameters():
        state = {key: _beside(parameter, stored[f"{name}.{key}"]) for key in ADAM_STATE if f"{name}.{key}" in stored}
        if state:  # a parameter that no gradient has reached yet has none
            learner.optimizer.state[parameter] = state
    counters = json.loads((path / "counters.json").read_text())
    learner.updates = counters["updates"]
    return counters


def _weights(learner: Learner) -> dict[str, Tensor]:
    """Every parameter and buffer once, by name (TorchRL's loss modules hold theirs a second time)."""
    return dict(learner.parts.named_parameters()) | dict(learner.parts.named_buffers())


def _optimizer_tensors(learner: Learner) -> dict[str, Tensor]:
    state = learner.optimizer.state
    return {
        f"{name}.{key}": value for name, parameter in learner.trained.named_parameters() for key, value in state.get(parameter, {}).items()
    }


def _beside(parameter: Tensor, tensor: Tensor) -> Tensor:
    """``tensor`` on the parameter's device and, if it is a moment, in the parameter's memory layout: fused Adam takes both for granted."""
    if tensor.shape == parameter.shape:
        return torch.zeros_like(parameter, requires_grad=False).copy_(tensor)
    return tensor.to(parameter.device)


@torch.no_grad()
def _restore(into: dict[str, Tensor], stored: dict[str, Tensor], path: Path) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in into.items()}
    odd = sorted(shapes.items() ^ {name: tuple(tensor.shape) for name, tensor in stored.items()}.items())
    if odd:
        raise UserError(f"{path}: does not fit the recipe's components; the first that differs: {odd[0][0]}")
    for name, tensor in into.items():
        tensor.copy_(stored[name])

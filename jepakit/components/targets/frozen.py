"""A target that never learns."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from jepakit.components.targets.encoders import CopiedEncoder
from jepakit.registry import register


@register("target", "frozen")
class Frozen(CopiedEncoder):
    """θ̄ never changes: it keeps the online encoder's initial weights, or those of a checkpoint; no gradient.

    Its embeddings cannot collapse, and never learn anything about the task.

    Source: Burda et al. 2019, Exploration by Random Network Distillation, section 2.2 (a fixed, randomly initialised target network);
    Grill et al. 2020, Bootstrap Your Own Latent, Method and Table 5a (a network that predicts a fixed random target has better features
    than the target).

    Args:
        checkpoint: A checkpoint of a run whose encoder has the same fields: its folder, or the ``weights.safetensors`` in it, relative to
            the recipe that names it. Null: the online encoder's initial weights.

    Raises:
        ValueError: ``checkpoint`` does not exist, cannot be read, or holds a different encoder.
    """

    reads: ClassVar[tuple[str, ...]] = ("checkpoint",)

    def __init__(self, encoder: nn.Module, *, checkpoint: str | None = None) -> None:
        super().__init__(encoder)
        if checkpoint is not None:
            _load(self.encoder, Path(checkpoint))

    def update(self, encoder: nn.Module) -> None:
        """Do nothing: the weights are fixed."""


@torch.no_grad()
def _load(encoder: nn.Module, path: Path) -> None:
    file = path / "weights.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"checkpoint {file} does not exist")
    try:
        stored = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"checkpoint {file} cannot be read as safetensors: {error}") from error
    own = _by_name_in_a_checkpoint(encoder, stored.keys())
    theirs = {name: tensor for name, tensor in stored.items() if name.startswith("encoder.") or name in own}
    odd = sorted(_shapes(own) ^ _shapes(theirs))
    if odd:
        raise ValueError(f"checkpoint {file} holds a different encoder; first tensor that differs: {odd[0][0]}")
    for name, tensor in own.items():
        tensor.copy_(theirs[name])


def _by_name_in_a_checkpoint(encoder: nn.Module, names: Set[str]) -> dict[str, Tensor]:
    """Parameters and buffers by their names in a checkpoint: ``encoder.<name>``, or unchanged for an encoder with a projector."""
    own = dict(encoder.named_parameters()) | dict(encoder.named_buffers())
    return own if own.keys() <= names else {f"encoder.{name}": tensor for name, tensor in own.items()}


def _shapes(tensors: dict[str, Tensor]) -> set[tuple[str, tuple[int, ...]]]:
    return {(name, tuple(tensor.shape)) for name, tensor in tensors.items()}

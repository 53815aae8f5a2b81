"""Augmented views of stacks, and how an algorithm that averages over several of them gets their embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tensordict import TensorDictBase
from torch import Tensor

from jepakit.protocols import S_X, VIEWS, Augmentation
from jepakit.training.terms import expect_shape


def augmented(pixels: Tensor, augmentations: Sequence[Augmentation]) -> Tensor:
    """``pixels`` [*, K, C, H, W] after the augmentations, applied in order; each stack draws its own.

    Raises:
        Misshapen: An augmentation changes the shape.
    """
    for augmentation in augmentations:
        stacks = pixels.flatten(0, -5)
        changed = augmentation(stacks)
        expect_shape("augmentation", changed, stacks.shape, augmentation)
        pixels = changed.reshape(pixels.shape)
    return pixels


def hand_over(steps: TensorDictBase, views: Sequence[Tensor]) -> None:
    """Write embeddings into ``steps`` [B]: the first view's [B, D] and, if there are more, those of all ``views`` [B, views, D]."""
    steps[S_X] = views[0]
    if len(views) > 1:
        steps[VIEWS] = torch.stack(list(views), dim=1)

"""Shared by auxiliary terms: a small MLP."""

from __future__ import annotations

from torch import nn
from torchrl.modules import MLP


def head(width: int, hidden: int, out: int) -> MLP:
    """[*, width] -> [*, out], with one hidden layer and ReLU."""
    return MLP(in_features=width, out_features=out, num_cells=[hidden], activation_class=nn.ReLU)

"""Actions as inputs of a predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


class Actions:
    """Discrete actions as one-hot vectors, continuous ones unchanged."""

    def __init__(self, action_spec: TensorSpec) -> None:
        self.number: int | None = getattr(action_spec.space, "n", None)  #: None: continuous
        self.width: int = self.number or action_spec.shape[-1]

    def vectors(self, action: Tensor, dtype: torch.dtype) -> Tensor:
        """int64 [*] or float [*, A] -> ``dtype`` [*, width]; any number of leading dimensions."""
        return (F.one_hot(action, self.number) if self.number else action).to(dtype)

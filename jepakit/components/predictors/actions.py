"""Actions as inputs of a predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


class Actions:
    """Discrete actions as one-hot vectors, continuous ones unchanged."""

    def __init__(self, action_spec: TensorSpec) -> None:
        self.number: int | None = getattr(action_spec.space, "n", None)  #: None: continuous
        self.width: int = self.number or action_spec.shape[-1]

    def vectors(self, action: Tensor, dtype: torch.dtype) -> Tensor:
        """int64 [*] or float [*, A] -> ``dtype`` [*, width]; any number of leading dimensions."""
        if not self.number:
            return action.to(dtype)
        return (action[..., None] == torch.arange(self.number, device=action.device)).to(dtype)  # `one_hot` would wait for a GPU

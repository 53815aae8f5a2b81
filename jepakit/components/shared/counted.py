"""A count of updates that Python can read without waiting for a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class Counted(nn.Module):
    """Has a buffer ``updates``, int64, which stays in host memory wherever the module goes.

    It is a buffer, so that a resumed run continues the count. Reading it from a GPU would make Python wait for the device at every update.
    """

    updates: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64, device="cpu"))

    def _apply(self, fn: Callable[[Tensor], Tensor], *how: Any, **named: Any) -> Self:
        updates = self._buffers.pop("updates")  # `fn` moves or converts what it is given
        try:
            return super()._apply(fn, *how, **named)
        finally:
            self._buffers["updates"] = updates

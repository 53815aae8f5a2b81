"""Whether what an update computes is finite: asked at once, or once for a whole round."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from jepakit.machine.generators import generators, set_generators

Tried = TypeVar("Tried")


class Checks:
    """Asks whether values are finite.

    A GPU computes while Python prepares what comes next, and each question makes Python wait for the answer. So a ``late`` check takes all
    values for finite, keeps the answers on the device and reads them after the round. If one was bad, everything that the updates changed
    is restored, and they are done anew with every question asked at once. A run's state is then what it would have been without.

    Args:
        parts: All modules that the updates change.
        optimizer: Theirs.
        late: Whether rounds are checked at their end.
    """

    def __init__(self, parts: nn.Module, optimizer: torch.optim.Optimizer, *, late: bool) -> None:
        self.parts = parts
        self.optimizer = optimizer
        self.late = late
        self.unread: list[Tensor] | None = None  #: of the round that is under way, if it is checked at its end

    def passed(self, *values: Tensor) -> bool:
        """Whether all ``values`` are finite; in a round that is checked at its end true in any case."""
        if self.unread is None:
            return all(bool(value.isfinite().all()) for value in values)
        self.unread += [value.isfinite().all() for value in values]
        return True

    def round(self, updates: Callable[[], Tried]) -> Tried:
        """Call ``updates``, which may be called twice: the second time with everything as it was before the first."""
        if not self.late:
            return updates()
        before = _State(self.parts, self.optimizer)
        self.unread = []
        try:
            tried = updates()
            if torch.stack(self.unread).all():
                return tried
        except (RuntimeError, ValueError, ArithmeticError):
            pass  # such as torch's error about a matrix that is not finite; if it has another cause, it comes again
        finally:
            self.unread = None
        before.restore()
        return updates()


class _State:
    """What updates change, as it is now."""

    def __init__(self, parts: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.parts, self.optimizer = parts, optimizer
        self.weights = {name: tensor.clone() for name, tensor in parts.state_dict().items()}
        self.of_optimizer: dict[str, Any] = copy.deepcopy(optimizer.state_dict())
        self.generators = generators()

    def restore(self) -> None:
        self.parts.load_state_dict(self.weights)
        self.optimizer.load_state_dict(self.of_optimizer)
        set_generators(self.generators)

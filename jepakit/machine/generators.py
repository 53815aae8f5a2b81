"""The global random number generators of Python, NumPy and torch."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from jepakit.errors import UserError

_held = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """Hold the generators, and settings of torch, which belong to the process: two threads would draw from one.

    Raises:
        UserError: Another thread holds them.
    """
    if not _held.acquire(blocking=False):
        raise UserError("another thread of this process trains or plays: do one after the other, or each in a process of its own")
    try:
        yield
    finally:
        _held.release()


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators."""
    random.seed(seed)
    np.random.seed(seed)
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)  # 300 times as fast: the other notes a stack trace for each kind of accelerator


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

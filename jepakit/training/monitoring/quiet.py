"""Measuring without leaving a trace: no gradient, eval mode, the same random numbers afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from jepakit.diagnostics.embedding import only_looking
from jepakit.machine.generators import generators, set_generators


@contextmanager
def same_generators() -> Iterator[None]:
    """Restores the random number generators: what is drawn inside, training does not notice."""
    before = generators()
    try:
        yield
    finally:
        set_generators(before)


@contextmanager
def quietly(parts: nn.Module) -> Iterator[None]:
    """`same_generators`, no gradient, and every module of ``parts`` in eval mode; afterwards each has its own mode and buffers again."""
    buffers = [(buffer, buffer.clone()) for buffer in parts.buffers()]  # noise of noisy layers; counters of a component
    with same_generators(), only_looking(parts):
        try:
            yield
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)

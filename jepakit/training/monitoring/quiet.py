"""Measuring without leaving a trace: no gradient, eval mode, the same random numbers afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

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
    modes = {module: module.training for module in parts.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in parts.buffers()]  # noise of noisy layers; counters of a component
    with same_generators(), torch.no_grad():
        parts.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            for buffer, before in buffers:
                buffer.copy_(before)

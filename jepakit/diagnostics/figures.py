"""Shared by the diagnostics: norms over many tensors, parameters by part, lists cut to a readable length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from jepakit.protocols import MOST_NUMBERS


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of all tensors together, a scalar; 0 of none."""
    return torch.stack([torch.zeros(()), *(tensor.norm().float().cpu() for tensor in tensors)]).norm()


def by_part(named: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by the first word of their name: ``encoder.cls`` belongs to ``encoder``."""
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in named.items():
        parts[name.partition(".")[0]][name] = tensor
    return dict(parts)


def thinned(values: Tensor) -> Tensor:
    """``values`` [n] themselves or, of more than `MOST_NUMBERS`, as many at even distances, first and last among them."""
    if len(values) <= MOST_NUMBERS:
        return values
    return values[torch.linspace(0, len(values) - 1, MOST_NUMBERS).long().to(values.device)]

"""Parts whose weights stay as they are."""

from __future__ import annotations

from types import MethodType
from typing import TypeVar

from torch import Tensor, nn

from jepakit.protocols import Observer, is_annealed

M = TypeVar("M", bound=nn.Module)


def freeze(part: M, *, statistics: bool) -> M:
    """Fix the weights of ``part``, which from now on stays in eval mode, whatever mode its run sets. Copies of it stay so, too.

    Args:
        part: The part, which is changed in place.
        statistics: Whether the running statistics of frames inside it are fixed as well.
    """
    part.requires_grad_(False).eval()
    for module in part.modules():
        module.__dict__["train"] = MethodType(
            _stay, module
        )  # in the instance: a copy of the part copies it, a wrapper would rename weights
        if statistics and isinstance(module, Observer):
            module.__dict__["observe"] = MethodType(_ignore, module)
    return without_schedules(part)


def without_schedules(part: M) -> M:
    """Have every module in ``part`` stay at where its own schedule is. Copies of it stay so, too."""
    for module in part.modules():
        if is_annealed(module):
            module.__dict__["anneal"] = MethodType(_ignore, module)
    return part


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def _ignore(module: nn.Module, told: Tensor | float) -> None:
    pass

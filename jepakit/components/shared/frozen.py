"""Parts whose weights stay as they are."""

from __future__ import annotations

from types import MethodType
from typing import TypeVar

from torch import Tensor, nn

from jepakit.protocols import Observer

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
    return part


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def _ignore(module: nn.Module, frames: Tensor) -> None:
    pass

"""Weights of a component that no optimizer would train and no checkpoint hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

LIBRARIES = ("torchrl", "tensordict")  #: whose modules register weights in ways of their own
REGISTRIES = ("_parameters", "_buffers", "_modules")  #: attributes in which a module registers


def unsaved(component: object, given: Iterable[object] = (), *, may_be_lazy: bool = False) -> str:
    """Why weights of ``component`` would be lost; empty if all are registered.

    Args:
        component: A module, or an object of a plain class, which registers nothing.
        given: What it was made from. Others train and save the weights in there.
        may_be_lazy: Whether it may have layers whose weights come into being at its first call.
    """
    known = {id(each) for owner in (*given, component) if isinstance(owner, nn.Module) for each in (*owner.modules(), *owner.parameters())}
    for owner in component.modules() if isinstance(component, nn.Module) else [component]:
        if any(base.__module__.partition(".")[0] in LIBRARIES for base in type(owner).__mro__):
            continue
        is_module = isinstance(owner, nn.Module)
        where = "in a plain list or dict: write torch.nn.ModuleList" if is_module else "but is not a torch.nn.Module"
        for name, held in _attributes(owner):
            if id(held) not in known and _has_weights(held, trained_alone=is_module):
                return f"it holds weights (`{name}`) {where}: they would be neither trained nor saved"
    if not may_be_lazy and isinstance(component, nn.Module):
        for name, tensor in (*component.named_parameters(), *component.named_buffers()):
            if is_lazy(tensor):
                advice = "give the layer its width, of `embedding_width`"
                return f"`{name}` is lazy: before its first call a checkpoint cannot be loaded; {advice}"
    return ""


def _has_weights(held: object, *, trained_alone: bool) -> bool:
    """Whether ``held`` has weights. A module may hide frozen ones, of a teacher for example, so that they are not saved."""
    if isinstance(held, nn.Module):
        return any(weight.requires_grad for weight in held.parameters()) if trained_alone else bool(held.state_dict())
    return isinstance(held, nn.Parameter)


def _attributes(owner: Any) -> Iterator[tuple[str, object]]:
    """The attributes of ``owner``, with each entry of a list, tuple or dict on its own."""
    for name, value in getattr(owner, "__dict__", {}).items():
        if name not in REGISTRIES:
            entries = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
            yield from ((name, each) for each in entries)

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
        for name, held in _attributes(owner):
            if id(held) not in known and (held.state_dict() if isinstance(held, nn.Module) else isinstance(held, nn.Parameter)):
                found = (
                    "in a plain list or dict: write torch.nn.ModuleList" if isinstance(owner, nn.Module) else "but is not a torch.nn.Module"
                )
                return f"it holds weights (`{name}`) {found}: they would be neither trained nor saved"
    if not may_be_lazy and isinstance(component, nn.Module):
        for name, tensor in (*component.named_parameters(), *component.named_buffers()):
            if is_lazy(tensor):
                return (
                    f"`{name}` is lazy: before its first call a checkpoint cannot be loaded; give the layer its width, of `embedding_width`"
                )
    return ""


def _attributes(owner: Any) -> Iterator[tuple[str, object]]:
    """The attributes of ``owner``, with each entry of a list, tuple or dict on its own."""
    for name, value in getattr(owner, "__dict__", {}).items():
        if name not in REGISTRIES:
            entries = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
            yield from ((name, each) for each in entries)

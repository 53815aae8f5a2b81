"""What a component holds that no checkpoint would: weights that are not registered, and state in plain attributes."""

from __future__ import annotations

import itertools
import random
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

LIBRARIES = ("torchrl", "tensordict")  #: whose modules register weights in ways of their own
REGISTRIES = ("_parameters", "_buffers", "_modules")  #: attributes in which a module registers
OF_A_MODULE = frozenset(vars(nn.Module()))  #: attributes that every module has
#: Packages whose objects are not looked into.
NO_STATE = {*sys.stdlib_module_names, *LIBRARIES, "jepakit", "torch", "numpy", "gymnasium", "pydantic"}


def unsaved(component: object, given: Iterable[object] = (), *, may_be_lazy: bool = False) -> str:
    """Why weights or state of ``component`` would be lost; empty if all are registered.

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
        if isinstance(owner, nn.Module) and type(owner).get_extra_state is not nn.Module.get_extra_state:
            return f"`{type(owner).__name__}` overrides `get_extra_state`, which no checkpoint holds: keep its state in buffers"
        where = "in a plain list or dict: write torch.nn.ModuleList" if is_module else "but is not a torch.nn.Module"
        for name, held in _attributes(owner):
            if id(held) not in known and _has_weights(held, trained_alone=is_module):
                return f"it holds weights (`{name}`) {where}: they would be neither trained nor saved"
    if isinstance(component, nn.Module):
        for name, tensor in (*component.named_parameters(), *component.named_buffers()):
            if why := _unfit(tensor, may_be_lazy):
                return f"`{name}` {why}"
    return ""


def _unfit(tensor: Tensor, may_be_lazy: bool) -> str:
    """Why a checkpoint could not be loaded into ``tensor``, or it could not be trained; empty if both can be done."""
    if is_lazy(tensor):
        why = "is lazy: before its first call a checkpoint cannot be loaded; give the layer its width, of `embedding_width`"
        return "" if may_be_lazy else why
    strides = tensor.stride() if tensor.layout == torch.strided else ()
    if any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, strides, strict=False)):
        return "is expanded: its entries share memory, so nothing can be loaded into it; call `clone()` first"
    if tensor.is_complex() and tensor.requires_grad:
        return "is complex, which the fused Adam does not train: keep two real parameters, and join them with torch.complex"
    return ""


def plain_state(component: object) -> dict[str, str]:
    """Numbers, texts, tensors, random generators, and lists and objects of them, in plain attributes of ``component`` and its parts.

    By name, as text. No checkpoint holds them, which does no harm as long as they stay the same. An object that is no module may save them
    itself, in a ``state_dict`` of its own: they are left out then.
    """
    if isinstance(component, nn.Module):
        owners = [*component.named_modules()]
    else:
        owners = [] if hasattr(component, "state_dict") else [("", component)]
    saved = {id(each) for _, owner in owners if isinstance(owner, nn.Module) for each in (*owner.parameters(), *owner.buffers())}
    seen: set[int] = set()
    return {
        each: state
        for path, owner in owners
        for name, value in getattr(owner, "__dict__", {}).items()
        if name not in OF_A_MODULE
        for each, state in _states(f"{path}.{name}".lstrip("."), value, saved, seen)
    }


def _states(name: str, value: Any, saved: set[int], seen: set[int]) -> Iterator[tuple[str, str]]:
    """The state of an attribute, or of each attribute of an object of one's own there, by name and as text.

    Args:
        name: The attribute's.
        value: What it holds.
        saved: The ids of the tensors that a checkpoint holds.
        seen: The ids of the objects that were looked into.
    """
    if _holds_any(value, saved):
        return
    if (state := _state_of(value)) is not None:
        yield name, repr(state)
    elif _is_own(value) and id(value) not in seen:
        seen.add(id(value))
        for each, held in vars(value).items():
            yield from _states(f"{name}.{each}", held, saved, seen)


def _is_own(value: Any) -> bool:
    """Whether ``value`` is an object of a class of the user's own, which saves nothing itself."""
    cls = type(value)
    if isinstance(value, type | nn.Module) or str(cls.__module__).partition(".")[0] in NO_STATE:
        return False
    return not hasattr(cls, "state_dict") and isinstance(getattr(value, "__dict__", None), dict)


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The names of what differs between two `plain_state` of one module. What was not there before may be a cache, and does not count."""
    return [name for name, state in after.items() if before.get(name, state) != state]


def _holds_any(value: Any, saved: set[int]) -> bool:
    """Whether ``value`` is a registered tensor, or a list of some, as `torch.nn.GRU` keeps one."""
    return id(value) in saved or (isinstance(value, list | tuple) and any(id(entry) in saved for entry in value))


def _state_of(value: Any) -> object:
    """What tells two states of ``value`` apart; None if it is no state."""
    if isinstance(value, int | float | str | bytes):
        return value
    if isinstance(value, itertools.count):
        return repr(value)
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_quantized):
        return tuple(value.shape), sha256(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
    if isinstance(value, np.ndarray):
        return value.shape, sha256(value.tobytes()).hexdigest()
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)["state"]["key"].tobytes(), value.get_state(legacy=False)
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, list | tuple | deque | dict):
        held = [_state_of(entry) for entry in (value.values() if isinstance(value, dict) else value)]
        return None if held and all(entry is None for entry in held) else held
    return None


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

"""The trained parts, as one module and as Adam's groups of parameters, each with a factor on the learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from jepakit.errors import UserError, nearest, shown


def as_modules(parts: Mapping[str, object]) -> nn.ModuleDict:
    """The parts that are modules; a component without parameters may be a plain class."""
    return nn.ModuleDict({name: part for name, part in parts.items() if isinstance(part, nn.Module)})


def parameter_groups(trained: nn.ModuleDict, factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """All parameters of ``trained`` that have a gradient, as groups for Adam, each with the ``factor`` on its learning rate.

    Without factors it is one group, in the order of the parameters.

    Args:
        trained: The parts by name.
        factors: By part (``encoder``), or by part and a name in it (``encoder.trunk``, ``algorithm.log_alpha``). Of several that fit a
            parameter the longest counts. All others have a factor of 1.

    Raises:
        UserError: No parameter fits one of the names.
    """
    named = {name: parameter for name, parameter in trained.named_parameters() if parameter.requires_grad}
    factor_of = dict.fromkeys(named, 1.0)
    for key in sorted(factors, key=len):
        fitting = [name for name in named if _fits(key, name)]
        if not fitting:
            raise UserError(f"lr_factors names `{shown(key)}`, where nothing is trained: {_advice(key, named)}")
        factor_of |= dict.fromkeys(fitting, factors[key])
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in named.items():
        groups.setdefault(factor_of[name], []).append(parameter)
    return [{"params": parameters, "factor": factor} for factor, parameters in groups.items()]


def _fits(key: str, name: str) -> bool:
    """Whether ``key`` is a parameter's part, or its part and what its ``name`` has in it: ``a.c`` and ``a.c.d`` fit ``a.b.c.d``."""
    part, _, inner = key.partition(".")
    its_part, _, rest = name.partition(".")
    return part == its_part and (not inner or f".{inner}." in f".{rest}.")


def _advice(key: str, names: Iterable[str]) -> str:
    parts: dict[str, None] = {}
    inner: dict[str, None] = {}
    for part, *steps in (name.split(".") for name in names):
        parts[part] = None
        inner |= dict.fromkeys(f"{part}.{step}" for step in steps)
    near = nearest(key, [*parts, *inner])
    return f"did you mean `{near}`?" if near else f"write a part ({', '.join(parts)}) or a name in a part, such as `{next(iter(inner))}`"

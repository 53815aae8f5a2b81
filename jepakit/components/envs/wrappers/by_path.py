"""Gymnasium wrappers that a recipe names by their import path."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import gymnasium
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from jepakit.components.envs.tape import Simulator
from jepakit.errors import UserError, suggestion, told


class Wrapping(BaseModel):
    """One wrapper: its import path, and beside it its arguments."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue]

    path: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]  #: ``module:Class``


def wrapped(simulator: Simulator, wrapping: Wrapping) -> Simulator:
    """The wrapper that ``wrapping`` names, around ``simulator``.

    Raises:
        UserError: It cannot be imported, is no wrapper, or does not take these arguments or this simulator.
    """
    module, _, name = wrapping.path.partition(":")
    try:
        imported = importlib.import_module(module)
    except Exception as error:
        raise UserError(f"the wrapper {wrapping.path} cannot be imported: {told(error)}") from error
    found: Any = getattr(imported, name, None)
    if not (isinstance(found, type) and issubclass(found, gymnasium.Wrapper)):
        known = [each for each, value in vars(imported).items() if isinstance(value, type) and issubclass(value, gymnasium.Wrapper)]
        raise UserError(f"`{module}` has no Gymnasium wrapper `{name}`; {suggestion(name, known, 'it has')}")
    arguments = {name: _as_tuple(value) for name, value in wrapping.__pydantic_extra__.items()}
    try:
        made: Simulator = found(simulator, **arguments)
        made.reset(seed=0)  # what does not fit, some wrappers notice at a reset only
    except Exception as error:
        raise UserError(f"the wrapper {wrapping.path} cannot be made: {told(error)}") from error
    return made


def _as_tuple(value: Any) -> Any:
    """YAML knows lists alone; Gymnasium's wrappers ask for tuples, as of a shape."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value

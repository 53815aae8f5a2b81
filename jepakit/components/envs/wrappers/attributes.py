"""A task's other physics: a simulator whose constants are set from the recipe."""

from __future__ import annotations

from typing import Any

import gymnasium

from jepakit.components.envs.tape import Simulator
from jepakit.errors import suggestion


class Attributes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Sets attributes of the env inside all wrappers, once, when the simulator is made.

    Many of Gymnasium's tasks keep their constants there and take no argument for them: Cart Pole its ``gravity`` (m/s²) and ``length``
    (half the pole's, m), Pendulum its ``m`` (kg), Mountain Car its ``force``.

    Args:
        simulator: The simulator.
        values: What to set, by name. An attribute has to exist, and keeps its type; a whole number may take the place of a float.

    Raises:
        ValueError: The env has no such attribute, or a value has another type.
    """

    def __init__(self, simulator: Simulator, **values: Any) -> None:
        super().__init__(simulator)
        inner: Any = simulator.unwrapped
        for name, value in values.items():
            had = getattr(inner, name, None)
            if had is None or callable(had) or name.startswith("_"):
                known = [
                    known for known, at in vars(inner).items() if isinstance(at, (bool, int, float, str)) and not known.startswith("_")
                ]
                raise ValueError(f"{type(inner).__name__} has no attribute `{name}`; {suggestion(name, known, 'it has')}")
            if isinstance(had, float) and type(value) is int:
                value = float(value)
            if not isinstance(value, type(had)) or isinstance(value, bool) is not isinstance(had, bool):
                raise ValueError(f"`{name}` is {had!r}, so {value!r} cannot take its place")
            setattr(inner, name, value)

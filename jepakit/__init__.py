"""Joint-embedding predictive representations for reinforcement learning.

What stands in ``__all__`` is the public API. Each name is imported when it is first used, so that ``import jepakit`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jepakit.errors import UserError
    from jepakit.protocols import (
        Algorithm,
        Embed,
        Encoder,
        Env,
        Experience,
        FrameShape,
        Objective,
        OnPolicyAlgorithm,
        Predictor,
        Regularizer,
        Target,
        Term,
    )
    from jepakit.recipe import Recipe, load_recipe
    from jepakit.registry import register
    from jepakit.training.run import run

__version__ = "0.1.0"

__all__ = [
    "Algorithm",
    "Embed",
    "Encoder",
    "Env",
    "Experience",
    "FrameShape",
    "Objective",
    "OnPolicyAlgorithm",
    "Predictor",
    "Recipe",
    "Regularizer",
    "Target",
    "Term",
    "UserError",
    "load_recipe",
    "register",
    "run",
]

_HOME = {
    "Recipe": "jepakit.recipe",
    "UserError": "jepakit.errors",
    "load_recipe": "jepakit.recipe",
    "register": "jepakit.registry",
    "run": "jepakit.training.run",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME.get(name, "jepakit.protocols")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

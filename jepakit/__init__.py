"""Joint-embedding predictive representations for reinforcement learning.

``__all__`` lists the public API. Each name is imported on first use, so that ``import jepakit`` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jepakit.version import __version__ as __version__

if TYPE_CHECKING:
    from jepakit.agent.policy import load_policy
    from jepakit.agent.probe import probe
    from jepakit.agent.recording.episodes import record_episodes
    from jepakit.agent.trained import load_encoder
    from jepakit.errors import UserError
    from jepakit.protocols import (
        Algorithm,
        Augmentation,
        Curiosity,
        Diagnostic,
        Distraction,
        Embed,
        Encoder,
        Env,
        Experience,
        FrameShape,
        HasState,
        LossTerm,
        Minibatch,
        MirroredRun,
        Objective,
        OffPolicyAlgorithm,
        OnPolicyAlgorithm,
        Predictor,
        Projector,
        Recording,
        Restorable,
        Sink,
        Source,
        Target,
        Term,
    )
    from jepakit.recipe import Recipe, load_recipe
    from jepakit.registry import register
    from jepakit.report.compare import compare
    from jepakit.sweep.ablate import ablate
    from jepakit.training.run import resume, run
    from jepakit.tuning.tune import tune

__all__ = [
    "Algorithm",
    "Augmentation",
    "Curiosity",
    "Diagnostic",
    "Distraction",
    "Embed",
    "Encoder",
    "Env",
    "Experience",
    "FrameShape",
    "HasState",
    "LossTerm",
    "Minibatch",
    "MirroredRun",
    "Objective",
    "OffPolicyAlgorithm",
    "OnPolicyAlgorithm",
    "Predictor",
    "Projector",
    "Recipe",
    "Recording",
    "Restorable",
    "Sink",
    "Source",
    "Target",
    "Term",
    "UserError",
    "ablate",
    "compare",
    "load_encoder",
    "load_policy",
    "load_recipe",
    "probe",
    "record_episodes",
    "register",
    "resume",
    "run",
    "tune",
]

_HOME = {
    "Recipe": "jepakit.recipe",
    "UserError": "jepakit.errors",
    "ablate": "jepakit.sweep.ablate",
    "compare": "jepakit.report.compare",
    "load_encoder": "jepakit.agent.trained",
    "load_policy": "jepakit.agent.policy",
    "load_recipe": "jepakit.recipe",
    "probe": "jepakit.agent.probe",
    "record_episodes": "jepakit.agent.recording.episodes",
    "register": "jepakit.registry",
    "resume": "jepakit.training.run",
    "run": "jepakit.training.run",
    "tune": "jepakit.tuning.tune",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME.get(name, "jepakit.protocols")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""The encoder of a finished run, for use elsewhere."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

from torch import nn

from jepakit.training.build import build_env, build_learner
from jepakit.training.hardware import settle
from jepakit.training.state import generators, load_weights, set_generators
from jepakit.training.stored import chosen_checkpoint, stored_recipe


def load_encoder(run: str | Path, *, best: bool = False, trust: bool = False) -> nn.Module:
    """The trained encoder of the run in folder ``run``: uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D], in eval mode.

    It is on the run's device, and its parameters ask for gradients as they did in training. The global random number generators are left
    alone.

    Args:
        run: A run's folder.
        best: Take the weights with the best return of the last 100 training episodes rather than the newest.
        trust: Whether to run the plug-ins that the run's recipe names.

    Raises:
        UserError: The folder holds no run with a whole checkpoint, or its recipe names code and is not trusted.
    """
    run = Path(run)
    recipe, hardware = settle(stored_recipe(run, trust))
    saved = chosen_checkpoint(run, best, warnings.warn)
    before = generators()
    try:
        with contextlib.closing(build_env(recipe)) as env:
            learner = build_learner(recipe, env, hardware)
    finally:
        set_generators(before)
    load_weights(saved, learner)
    return learner.encoder.eval()

"""What an embedding knows: R² of each state variable on held-out episodes, now and k predicted steps ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from jepakit.diagnostics.probes.episodes import MEAN, Observations
from jepakit.diagnostics.probes.regression import Pairs, Readout, fit_linear, fit_mlp, r_squared

AHEAD = (1, 2, 4, 8, 16)  #: k, steps
FEWEST_EPISODES = 3  #: two to fit on, one held out
ROWS = 2048  #: rolled out at once

Predict = Callable[[Tensor, Tensor], Tensor]  #: s_x [B, D] and actions [B, k, ...] -> the prediction of z k steps later, [B, P]
Scores = dict[str, float | None]


def knowledge(seen: Observations, seed: int, predict: Predict | None) -> dict[str, Any]:
    """Fit probes to some episodes, and judge them on others.

    Args:
        seen: Observations of at least `FEWEST_EPISODES` episodes.
        seed: Seed of the split and of the MLP.
        predict: The predictor, unrolled; None: there is none.

    Returns:
        ``episodes`` and ``observations`` (``fit``, ``held_out``); ``r2`` by probe and variable, with their mean; ``ahead``.
    """
    fit, fold, held_out = seen.split(seed)
    pairs = Pairs(fit.s_x, fit.state)
    probes = {"linear": fit_linear(pairs, fold), "mlp": fit_mlp(pairs.where(fold > 0), pairs.where(fold == 0), seed)}
    known = {kind: _scores(seen.names, r_squared(probe(held_out.s_x), held_out.state)) for kind, probe in probes.items()}
    ahead = None
    if predict:
        linear = probes["linear"] if seen.z is seen.s_x else fit_linear(Pairs(fit.z, fit.state), fold)
        ahead = _ahead(held_out, linear, predict)
    return {
        "episodes": {"fit": len(fit.episode.unique()), "held_out": len(held_out.episode.unique())},
        "observations": {"fit": len(fit.state), "held_out": len(held_out.state)},
        "r2": known,
        "ahead": ahead,
    }


def _ahead(seen: Observations, linear: Readout, predict: Predict) -> dict[str, Any]:
    """R² against the state k steps later, by ``linear`` on the prediction, on the true embedding then, and on the embedding now."""
    found: dict[str, list[Scores]] = {"predicted": [], "encoded": [], "copied": []}
    for k in AHEAD:
        now = seen.pairs(k)
        steps = now[:, None] + torch.arange(k)
        predicted = [predict(seen.s_x[rows[:, 0]], seen.action[rows]) for rows in steps.split(ROWS)]
        read_from = {"predicted": torch.cat(predicted), "encoded": seen.z[now + k], "copied": seen.z[now]}
        for name, z in read_from.items():
            found[name].append(_scores(seen.names, r_squared(linear(z), seen.state[now + k])))
    return {"k": list(AHEAD)} | {name: _by_variable(scores) for name, scores in found.items()}


def _scores(names: Sequence[str], values: Sequence[float | None]) -> Scores:
    there = [value for value in values if value is not None]
    return {**dict(zip(names, values, strict=True)), MEAN: fmean(there) if there else None}


def _by_variable(scores: Sequence[Mapping[str, float | None]]) -> dict[str, list[float | None]]:
    return {name: [each[name] for each in scores] for name in scores[0]}

"""The predictor's roll-outs along actions that were taken, and how far they are from what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jepakit.agent.imagination.played import Played
from jepakit.training.terms import JEPA, unroll

MOST = 2_000  #: roll-outs that errors are means of
ROWS = 256  #: rolled out at once


class RollOut(NamedTuple):
    """A roll-out of up to K steps."""

    episode: int
    start: int  #: its step in the episode
    s_y_hat: Tensor  #: [k, P], k <= K: as many steps as the episode has left


@torch.no_grad()
def roll_out(jepa: JEPA, episodes: Sequence[Played], ahead: int, device: str) -> list[RollOut]:
    """Roll the predictor out over ``ahead`` steps from steps of ``episodes``: from all, or from `MOST` of them, evenly spaced."""
    starts = [(number, step) for number, played in enumerate(episodes) for step in range(len(played.actions))]
    starts = [starts[at] for at in torch.linspace(0, len(starts) - 1, min(MOST, len(starts))).long().tolist()]
    made = []
    for first in range(0, len(starts), ROWS):
        rows = starts[first : first + ROWS]
        s_x = torch.stack([episodes[number].s_x[step] for number, step in rows])
        taken = [episodes[number].actions[step : step + ahead] for number, step in rows]
        # beyond an episode's end the last action is repeated; no prediction sees a later action, and those are cut off
        actions = torch.stack([torch.cat((each, each[-1:].expand(ahead - len(each), *each.shape[1:]))) for each in taken])
        s_y_hat = jepa.projected(unroll(jepa.predictor, s_x.to(device), actions.to(device))).float().cpu()
        made += [RollOut(*row, s_y_hat[i, : len(taken[i])]) for i, row in enumerate(rows)]
    return made


def errors(rollouts: Sequence[RollOut], episodes: Sequence[Played], mean: Tensor, ahead: int) -> dict[str, Any]:
    """‖ŝ_y - s_y‖² by k, as a share of the variance of s_y (summed over dimensions).

    Args:
        rollouts: The roll-outs.
        episodes: What they set out from.
        mean: The s_y that the mean baseline predicts, [P].
        ahead: K.

    Returns:
        ``k``, 1 to the farthest step that any roll-out reaches; for each, ``rollouts`` (how many reach it) and the mean errors of the
        predictor (``predicted``), of s_y at the start (``copied``) and of ``mean``; ``variance``, by which they are divided.
    """
    s_y = torch.cat([played.s_y for played in episodes]).double()
    variance = s_y.var(dim=0, correction=0).sum().item()
    figures: dict[str, list[Any]] = {name: [] for name in ("k", "rollouts", "predicted", "copied", "mean")}
    for k in range(1, ahead + 1):
        reaching = [each for each in rollouts if len(each.s_y_hat) >= k]
        if not reaching:
            break
        happened = torch.stack([episodes[each.episode].s_y[each.start + k] for each in reaching]).double()
        guesses = {
            "predicted": torch.stack([each.s_y_hat[k - 1] for each in reaching]),
            "copied": torch.stack([episodes[each.episode].s_y[each.start] for each in reaching]),
            "mean": mean,
        }
        figures["k"].append(k)
        figures["rollouts"].append(len(reaching))
        for name, guess in guesses.items():
            missed = (guess.double() - happened).square().sum(dim=-1).mean().item()
            figures[name].append(missed / max(variance, 1e-300))
    return {**figures, "variance": variance}

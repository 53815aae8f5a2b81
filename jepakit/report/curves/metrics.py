"""What the metrics are called in figures: their titles, units and axes, and in which order and company they are drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from jepakit.report.curves.history import EPISODE, RETURN, History

EMBEDDING = "What the embedding holds"
LOSSES = "Losses"
EVALUATION = "Evaluation"
DIAGNOSTICS = "Diagnostics"
TIME = "Time"
GROUPS = (EMBEDDING, LOSSES, EVALUATION, DIAGNOSTICS, TIME)  #: after the return, in this order

#: Axis labels of the metrics that need other words than their names.
LABELS = {
    RETURN: "return, mean of the last 100 episodes",
    EPISODE: "return of one episode",
    "episode_length": "episode length (env steps)",
    "embedding/variance": "embedding variance",
    "embedding/variance_min": "embedding variance, lowest in the batch",
    "embedding/mean_square": "embedding mean square",
    "embedding/rank": "effective rank",
    "loss/jepa": "L_JEPA",
    "loss/total": "total loss",
    "loss/actor": "actor loss",
    "loss/critic": "critic loss",
    "loss/entropy": "entropy loss",
    "embedding/dead_dimensions": "dead dimensions",
    "spectrum/participation": "participation: directions that carry variance",
    "spectrum/rank_me": "RankMe",
    "prediction/distance": "distance of ŝ_y and s_y",
    "prediction/cosine": "cosine of ŝ_y and s_y",
    "prediction/explained": "share of the change that ŝ_y explains",
    "policy/entropy": "policy entropy (nats)",
    "policy/kl": "KL of the round (nats)",
    "policy/clip_fraction": "clip fraction after the round",
    "critic/explained_variance": "critic: explained variance",
    "critic/value": "critic: mean value",
    "critic/bias": "critic: mean value − target",
    "gradient_norm": "gradient norm by part",
    "update_ratio": "‖step‖ / ‖weights‖ by part",
    "drift/since_first": "drift of s_x since the first record",
    "drift/since_last": "drift of s_x since the last record",
    "eval/return": "return in evaluation",
    "curiosity/bonus": "curiosity: mean bonus",
    "curiosity/share": "curiosity: share of the bonus in all reward",
    "curiosity/surprise": "curiosity: mean surprise",
    "curiosity/scale": "curiosity: σ, the deviation of the surprises' return",
    "collector/lag_updates": "lag of what acted: updates, mean",
    "collector/lag_updates_max": "lag of what acted: updates, most",
    "collector/lag_env_steps": "lag of what acted: env steps, mean",
    "collector/lag_env_steps_max": "lag of what acted: env steps, most",
    "ppo/kl": "KL, mean over updates (nats)",
    "ppo/clip_fraction": "clip fraction",
    "grad_norm": "gradient norm",
    "updates_skipped": "updates skipped",
    "time/env": "env (s a batch)",
    "time/policy": "policy (s a batch)",
    "time/learner": "learner (s a batch)",
    "time/batch": "whole batch (s)",
    "time/diagnostics": "diagnostics (s each time)",
    "time/eval": "evaluation (s each time)",
    "time/probe": "state probes (s each time)",
}
LOGARITHMIC = ("embedding/variance", "embedding/variance_min", "loss/jepa")  #: may span decades, and collapse shows in the lowest
NOT_DRAWN = ("updates", "frames", "episode_length", "learned_return", "embedding/mean_square")
BY_PART = ("gradient_norm", "update_ratio")  #: one metric for each part of the model
LAGS = tuple(name for name in LABELS if name.startswith("collector/lag_"))
NEVER = ("updates_skipped", *LAGS)  #: not drawn if zero throughout


class Panel(NamedTuple):
    """Metrics that share a pair of axes."""

    group: str
    label: str  #: of the vertical axis
    metrics: tuple[str, ...]
    logarithmic: bool


def panels(histories: Iterable[History]) -> list[Panel]:
    """The panels for all metrics but the returns, grouped. Metrics such as ``norm/encoder/a`` and ``norm/encoder/b`` share one."""
    histories = list(histories)
    found = list(dict.fromkeys(name for history in histories for name in history))
    shared: dict[str, list[str]] = {}
    for name in found:
        never = name in NEVER and not any(history[name].values.any() for history in histories if name in history)
        if name not in (RETURN, EPISODE, *NOT_DRAWN) and not never:
            shared.setdefault(_shared(name), []).append(name)
    drawn = [Panel(group_of(key), LABELS.get(key, key), tuple(names), _spans_decades(names, key)) for key, names in shared.items()]
    known = list(LABELS)
    return sorted(
        drawn,
        key=lambda panel: (
            GROUPS.index(panel.group),
            known.index(panel.metrics[0]) if panel.metrics[0] in known else len(known),
            panel.label,
        ),
    )


def _shared(name: str) -> str:
    """What a metric has in common with those that share its panel; its own name if it has one to itself."""
    head, *rest = name.split("/")
    if head in BY_PART and len(rest) == 1:
        return head
    if len(rest) > 1:
        return f"{head}/{rest[0]}"
    return "eval/return" if name.startswith("eval/return_") else name


def group_of(metric: str) -> str:
    """The heading under which a metric is drawn."""
    head = metric.partition("/")[0]
    if metric in ("grad_norm", "updates_skipped"):
        return DIAGNOSTICS
    return {"embedding": EMBEDDING, "loss": LOSSES, "eval": EVALUATION, "time": TIME}.get(head, DIAGNOSTICS)


def _spans_decades(names: list[str], key: str) -> bool:
    return key in LOGARITHMIC or names[0] in LOGARITHMIC

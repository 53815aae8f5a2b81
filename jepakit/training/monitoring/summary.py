"""What a run's ``summary.json`` says at its end."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from jepakit.diagnostics.collapse import below_paper_variance

if TYPE_CHECKING:
    from jepakit.training.loop import Loop


def summarise(loop: Loop, status: str, wall_s: float) -> dict[str, Any]:
    """The content of ``summary.json``.

    ``return_auc`` is the area under the curve of ``return_last_100`` against env steps, divided by the steps: the curve's mean.
    ``collapsed`` is the verdict at the end, and ``collapsed_at`` the env steps at which the embedding was first found collapsed.
    ``below_paper_variance`` is the paper's own measure at the end: a variance below 1e-7. ``seconds`` says where ``wall_s`` went.
    """
    history, latest = loop.history, loop.history.latest
    return {
        "id": loop.id,
        "parent": loop.recipe.parent,
        "status": status,
        "env_steps": history.env_steps,
        **loop.frames,
        "updates": loop.learner.updates,
        "updates_skipped": history.updates_skipped,
        "episodes": history.episodes,
        "return_last_100": history.return_last(100),
        "return_last_20": history.return_last(20),
        "return_auc": fmean(history.return_curve) if history.return_curve else None,
        "embedding_variance": latest.get("embedding/variance"),
        "embedding_mean_square": latest.get("embedding/mean_square"),
        "embedding_rank": latest.get("embedding/rank"),
        "below_paper_variance": None if latest.get("embedding/variance") is None else below_paper_variance(latest["embedding/variance"]),
        "collapsed": loop.state.watch.collapsed,
        "collapsed_at": loop.state.watch.collapsed_at,
        "steps_per_second": round(history.env_steps / max(wall_s, 1e-3), 1),
        "wall_s": wall_s,
        "seconds": {part: round(spent, 2) for part, spent in _budget(history.seconds, wall_s).items()},
    }


def _budget(seconds: dict[str, float], wall_s: float) -> dict[str, float]:
    """The wall-clock time by part; ``other`` is what no part has taken: start-up, records, TorchRL's collector."""
    return {**seconds, "other": max(0.0, wall_s - sum(seconds.values()))}

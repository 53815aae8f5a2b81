"""What a trial is judged by: a figure of its finished runs, and the return at fixed env steps on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jepakit.errors import UserError, suggestion
from jepakit.recipe import Recipe

#: Figures of ``summary.json`` of which more is better.
FIGURES = ("return_last_100", "return_last_20", "return_auc", "embedding_variance", "embedding_rank", "steps_per_second")
EVALUATED = ("eval/return_greedy", "eval/return_sampled")  #: of the last evaluation during training
DEFAULT = "return_last_100"
CURVE = "return_last_100"  #: the field of train records that pruning looks at


def check_metric(metric: str, recipe: Recipe) -> None:
    """Refuse a figure that the recipe's runs will not have.

    Raises:
        UserError: There is no such figure, the recipe does not evaluate, or its env is not stepped.
    """
    if metric not in (*FIGURES, *EVALUATED):
        raise UserError(f"--metric {metric}: no such figure; {suggestion(metric, (*FIGURES, *EVALUATED), 'the figures are')}")
    if recipe.source and metric.startswith("return"):
        raise UserError(
            f"--metric {metric}: a run that learns from recorded data has no returns: write --metric embedding_rank, for example"
        )
    if metric in EVALUATED and not 0 < (recipe.eval_every or 0) <= recipe.total_steps:
        raise UserError(f"--metric {metric}: this recipe does not evaluate while it trains: add --set eval_every={recipe.total_steps}")


def measured(run: Path, summary: Mapping[str, Any], metric: str) -> float | None:
    """A figure of a finished run.

    Args:
        run: Its folder.
        summary: The content of its ``summary.json``.
        metric: One of `FIGURES` or `EVALUATED`.

    Returns:
        The figure; None if the run has none, because no episode has ended in it, for example.
    """
    if metric not in EVALUATED:
        return _number(summary.get(metric))
    values = [record.get(metric) for record in _records(run) if record.get("phase") == "eval"]
    return _number(values[-1]) if values else None


def returns_at(run: Path, steps: Sequence[int]) -> dict[int, float | None]:
    """The return at each of some env steps that a run has reached, from the first train record at or after it.

    Args:
        run: The run's folder. A process may be writing its ``metrics.jsonl``.
        steps: Env steps, ascending.

    Returns:
        For each step that the run has reached, the mean return of the last 100 episodes; None if no episode had ended by then.
    """
    left = list(steps)
    found: dict[int, float | None] = {}
    for record in _records(run):
        env_steps = record.get("env_steps")
        if record.get("phase") != "train" or not isinstance(env_steps, int):
            continue
        while left and env_steps >= left[0]:
            found[left.pop(0)] = _number(record.get(CURVE))
        if not left:
            break
    return found


def _records(run: Path) -> Iterator[dict[str, Any]]:
    """The complete lines of a ``metrics.jsonl``, one at a time: a long run's file is large."""
    file = run / "metrics.jsonl"
    if not file.is_file():  # a pipe would block
        return
    try:
        with file.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(record, dict):
                    yield record
    except OSError:
        return


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

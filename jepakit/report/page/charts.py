"""Charts as data, which page.js draws with plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jepakit.report.curves.history import Array, Series
from jepakit.report.curves.metrics import Panel as Metrics
from jepakit.report.page.study import Study
from jepakit.report.statistics import MeanCurve, mean_of

Chart = dict[str, Any]

RESAMPLES = 2_000  #: of the interval at one point of a curve
POINTS = 25_000  #: of all lines of one chart, so that the page stays small
MOST, LEAST = 200, 40  #: points of one line
DIGITS = 4  #: significant digits


def metric_chart(study: Study, metrics: Metrics, *, interval: bool = False) -> Chart:
    """A metric against env steps: for each configuration a line and a band, for each run a thin line.

    Args:
        study: The runs.
        metrics: The metric; of several that share a panel each is a line, told apart by dashes.
        interval: Whether the band is the 95% interval of the interquartile mean, not the range of the runs.
    """
    count = sum(name in member.history for member in study.members for name in metrics.metrics)
    points = max(LEAST, min(MOST, POINTS // max(1, count)))
    several = len(metrics.metrics) > 1
    lines: list[dict[str, Any]] = []
    for group in study.groups:
        for at, name in enumerate(metrics.metrics):
            curves = [member.history[name] for member in group.members if name in member.history]
            own = {"config": group.index} | ({"part": name.split("/", 2)[-1], "dash": at} if several else {})
            is_whole = len(curves) == len(group.members) or not interval  # a mean over other runs would be another figure than the tables'
            if is_whole and (mean := _mean(curves, points, interval)):
                band = {} if len(curves) == 1 or several else {"low": rounded(mean.low), "high": rounded(mean.high)}
                lines.append({"role": "mean", "x": rounded(mean.env_steps, 7), "y": rounded(mean.value), **band, **own})
            for member in group.members if len(curves) > 1 and not several else ():
                if name in member.history:
                    thin = member.history[name].thinned(points)
                    lines.append(
                        {"role": "seed", "seed": member.run.seed, "x": rounded(thin.env_steps, 7), "y": rounded(thin.values), **own}
                    )
    lowest = min((min(value for value in line["y"] if value is not None) for line in lines), default=0)
    return {
        "type": "lines",
        "x": "env steps",
        "y": metrics.label,
        "log": metrics.logarithmic and lowest >= 0,
        "lines": lines,
        "rules": [],
    }


def _mean(curves: Sequence[Series], points: int, interval: bool) -> MeanCurve | None:
    if not curves:
        return None
    if len(curves) == 1:
        thin = curves[0].thinned(points)
        nothing = np.full(len(thin.values), np.nan)
        return MeanCurve(thin.env_steps, thin.values, nothing, nothing)
    if interval:
        return mean_of(curves, points, RESAMPLES)
    start, end = max(curve.env_steps[0] for curve in curves), min(curve.env_steps[-1] for curve in curves)
    longest = max(len(curve.values) for curve in curves)
    if start > end:
        return None
    grid = np.linspace(start, end, min(points, longest)) if end > start else np.array([start])
    values = np.stack([np.interp(grid, *curve) for curve in curves])
    return MeanCurve(grid, values.mean(axis=0), values.min(axis=0), values.max(axis=0))


def rounded(values: Array | Sequence[float], digits: int = DIGITS) -> list[float | int | None]:
    """Short numbers for JSON; NaN as null."""
    return [_short(float(value), digits) for value in values]


def _short(value: float, digits: int) -> float | int | None:
    if not np.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def bars(categories: Sequence[str], values: Mapping[int, Sequence[Sequence[float]]], label: str) -> Chart:
    """Grouped bars: for each configuration one bar a category, the mean of its runs, which are dots.

    Args:
        categories: Along the horizontal axis.
        values: By configuration: for each category its runs' values.
        label: Of the vertical axis.
    """
    lines = [
        {
            "config": index,
            "y": rounded([float(np.mean(runs)) if len(runs) else np.nan for runs in of]),
            "dots": [rounded(runs) for runs in of],
        }
        for index, of in values.items()
    ]
    return {"type": "bars", "x": "", "y": label, "categories": list(categories), "lines": lines}

"""The curves of runs as an image: the return on top, every other metric in a small panel below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from posixpath import commonpath
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from jepakit.errors import UserError
from jepakit.report.curves.history import EPISODE, RETURN
from jepakit.report.curves.metrics import Panel, panels
from jepakit.report.curves.recorded import Recorded
from jepakit.report.figures import COLOURS, DASHES, GREY, LEAST_VARIANCE, LOOK, literal, save_figure

FORMATS = ("png", "svg")
ACROSS = 3  #: small panels side by side
POINTS = 1000  #: most points of a line: an SVG holds each
LINE = 120  #: characters of the legend below
COLLAPSE = "#D55E00"


def draw_runs(runs: Sequence[Recorded], path: Path) -> Path:
    """Draw the curves of runs to a PNG or an SVG.

    Raises:
        UserError: The path has another ending, or cannot be written.
    """
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise UserError(f"--out {path}: write a file that ends in {' or '.join(f'.{kind}' for kind in FORMATS)}")
    with mpl.rc_context(LOOK):
        return save_figure(_figure(runs), path, dpi=130)


def _figure(runs: Sequence[Recorded]) -> Figure:
    small = panels([run.history for run in runs])
    groups = {group: [panel for panel in small if panel.group == group] for group in dict.fromkeys(panel.group for panel in small)}
    heights = [2.6] + [0.35 + 1.75 * -(-len(members) // ACROSS) for members in groups.values()]
    names = [fill(run.label, LINE) for run in runs] if len(runs) > 1 else []
    legend = 0.17 * sum(1 + name.count("\n") for name in names)
    figure = Figure(figsize=(9.6, sum(heights) + 0.5 + legend), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _returns(parts[0].subplots(), runs)
    for part, (group, members) in zip(parts[1:], groups.items(), strict=True):
        part.suptitle(group, x=0.01, ha="left", fontsize=10, fontweight="bold")
        rows = -(-len(members) // ACROSS)
        grid = part.add_gridspec(rows, ACROSS)
        for at, panel in enumerate(members):
            _panel(part.add_subplot(_cell(grid, at)), runs, panel)
    title = runs[0].title if len(runs) == 1 else f"{len(runs)} runs"
    figure.suptitle(literal(title), x=0.01, ha="left", fontsize=11, fontweight="bold")
    if names:
        handles = [Line2D([], [], label=literal(name), **_style(index)) for index, name in enumerate(names)]
        figure.legend(handles=handles, loc="outside lower left", frameon=False, fontsize=8)
    return figure


def _cell(grid: Any, at: int) -> SubplotSpec:
    return grid[at // ACROSS, at % ACROSS]


def _style(index: int, within: int = 0) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[(index // len(COLOURS) + within) % len(DASHES)], "linewidth": 1.3}


def _returns(axes: Axes, runs: Sequence[Recorded]) -> None:
    for index, run in enumerate(runs):
        if len(runs) == 1 and (episodes := run.history.get(EPISODE)) is not None:
            points = episodes.every(math.ceil(len(episodes.values) / POINTS))
            axes.plot(*points, ".", color=GREY, markersize=2, alpha=0.35, label="one episode")
        if (curve := run.history.get(RETURN)) is not None:
            axes.plot(*curve.thinned(POINTS), **_style(index), label="mean of the last 100")
    if len(runs) == 1 and axes.lines:
        axes.legend(loc="upper left", frameon=False, fontsize=8)
    axes.set_ylabel("return")
    axes.set_ylim(bottom=0 if axes.dataLim.y0 >= 0 else None)
    _finish(axes, runs)
    axes.set_xlabel("env steps")


def _panel(axes: Axes, runs: Sequence[Recorded], panel: Panel) -> None:
    lowest = min(run.history[name].values.min() for run in runs for name in panel.metrics if name in run.history)
    logarithmic = panel.logarithmic and lowest >= 0
    many = len(panel.metrics) > 1
    for index, run in enumerate(runs):
        for within, name in enumerate(panel.metrics):
            if name not in run.history:
                continue
            steps, values = run.history[name].thinned(POINTS)
            drawn = np.maximum(values, LEAST_VARIANCE) if logarithmic else values
            style = _style(within) if many and len(runs) == 1 else _style(index, within)  # of several, a run has a colour
            axes.plot(steps, drawn, **style, marker="." if len(steps) < 8 else None)
    if logarithmic:
        axes.set_yscale("log")
    if many:
        styles = [_style(at) if len(runs) == 1 else _style(0, at) | {"color": GREY} for at in range(len(panel.metrics))]
        shared = commonpath(panel.metrics) + "/"
        names = [literal(" " + name.removeprefix(shared)) for name in panel.metrics]
        handles = [Line2D([], [], label=name, **style) for name, style in zip(names, styles, strict=True)]
        axes.legend(handles=handles, fontsize=6, frameon=False)
    axes.set_title(literal(panel.label), fontsize=8.5 if len(panel.label) < 40 else 7, loc="left")
    axes.tick_params(labelsize=7, which="both")
    _finish(axes, runs)


def _finish(axes: Axes, runs: Sequence[Recorded]) -> None:
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(4 if axes.get_title(loc="left") else 8))
    axes.margins(x=0.02)
    if len(runs) == 1:
        for verdict, steps in runs[0].verdicts:
            axes.axvline(steps, color=COLLAPSE if verdict == "collapsed" else COLOURS[2], linewidth=0.9, linestyle=(0, (2, 2)))

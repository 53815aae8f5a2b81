"""Figures of runs: return and embedding variance against env steps."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter

from jepakit.diagnostics.collapse import PAPER_VARIANCE
from jepakit.errors import UserError
from jepakit.report.labels import Configuration
from jepakit.report.statistics import CONFIDENCE, mean_curve

#: Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow, which is faint on white, and Tol's wine and
#: indigo. In this order neighbours also differ in lightness; dashes and markers tell lines apart in a grey print. With 9 colours, 4 dashes
#: and 10 markers, each taken in turn, the first 180 lines all differ.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#000000", "#56B4E9", "#D55E00", "#CC79A7", "#882255", "#332288")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (7, 1.5, 1.5, 1.5)))
MARKERS = "osD^vPX<>p"
MARKS = 9  #: markers per line
CAPTION_WIDTH = 110  #: characters of a line below the figure
LEAST_VARIANCE = 1e-12  #: drawn in place of a variance of zero, which a log scale cannot show
GREY = "#555555"
LOOK: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "svg.hashsalt": "jepakit",  # without it, the ids in the SVG change every time
}


class _Style(NamedTuple):
    colour: str
    dashes: Any
    marker: str
    first_mark: float  #: differs by line, so that markers of overlapping lines do not overlap

    @classmethod
    def of(cls, index: int, count: int) -> _Style:
        colour, dashes, marker = (options[index % len(options)] for options in (COLOURS, DASHES, MARKERS))
        return cls(colour, dashes, marker, first_mark=(index + 0.5) / count / MARKS)


def plot_curves(
    configurations: Sequence[Configuration],
    path: str | Path,
    title: str | None = None,
    footnote: str | None = None,
    each_run: bool = False,
) -> tuple[Path, Path]:
    """Draw return and embedding variance against env steps: one line with its interval per configuration.

    Args:
        configurations: The configurations, in drawing order.
        path: The figure's path, without a suffix.
        title: The text above the figure.
        footnote: The text below it.
        each_run: Whether to also draw every run as a thin line.

    Returns:
        The paths of the PNG and the SVG.

    Raises:
        UserError: The files cannot be written.
    """
    with mpl.rc_context(LOOK):
        figure = _figure(configurations, title, footnote, each_run)
        png, svg = Path(f"{path}.png"), Path(f"{path}.svg")
        return save_figure(figure, png), save_figure(figure, svg)


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> Path:
    """Write a figure as its path's ending says; an SVG without the date, so that equal figures are equal files.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=dpi, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    except OSError as error:
        raise UserError(f"can't write {error.filename or path}: {error.strerror}") from None
    return path


def _figure(configurations: Sequence[Configuration], title: str | None, footnote: str | None, each_run: bool) -> Figure:
    styles = [_Style.of(index, len(configurations)) for index in range(len(configurations))]
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    returns, variances = figure.subplots(2, sharex=True, height_ratios=(1.25, 1))
    for configuration, style in zip(configurations, styles, strict=True):
        _draw(returns, configuration, "return_last_100", style, each_run)
        _draw(variances, configuration, "embedding/variance", style, each_run)
        _mark_collapsed_runs(variances, configuration, style)
    returns.set_ylabel("return, mean of the last 100 episodes")
    returns.set_ylim(bottom=0 if returns.dataLim.y0 >= 0 else None)
    variances.set_yscale("log")
    variances.set_ylabel("embedding variance")
    _mark_collapse(variances)
    variances.set_xlabel("env steps")
    variances.xaxis.set_major_formatter(EngFormatter(sep=""))
    variances.margins(x=0.02)
    figure.align_ylabels()
    _legend(figure, configurations, styles, title)
    lines = "\n".join(line for line in (_caption(configurations), footnote) if line).splitlines()
    caption = "\n".join(literal(textwrap.fill(line, CAPTION_WIDTH)) for line in lines)
    figure.supxlabel(caption, x=0.02, ha="left", fontsize=8, color=GREY)
    return figure


def _draw(axes: Axes, configuration: Configuration, metric: str, style: _Style, each_run: bool) -> None:
    log = metric == "embedding/variance"
    if each_run and len(configuration.runs) > 1:
        for run in configuration.runs:
            axes.plot(run.curves["env_steps"], _drawn(run.curves[metric], log), color=style.colour, linewidth=0.6, alpha=0.45)
    curve = mean_curve(configuration.runs, metric)
    if curve is None:
        return
    if not np.isnan(curve.low).all():
        axes.fill_between(curve.env_steps, _drawn(curve.low, log), _drawn(curve.high, log), color=style.colour, alpha=0.16, linewidth=0)
    axes.plot(curve.env_steps, _drawn(curve.value, log), markevery=(style.first_mark, 1 / MARKS), **_line(style))


def _drawn(values: Any, log: bool) -> Any:
    return np.maximum(values, LEAST_VARIANCE) if log else values


def _line(style: _Style) -> dict[str, Any]:
    return {
        "color": style.colour,
        "linestyle": style.dashes,
        "linewidth": 1.6,
        "marker": style.marker,
        "markersize": 5.5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }


def _mark_collapsed_runs(axes: Axes, configuration: Configuration, style: _Style) -> None:
    """Mark where each run ends that the collapse watch calls collapsed: it judges by variance / mean square, not by the variance drawn."""
    for run in configuration.runs:
        variance = run.curves["embedding/variance"]
        seen = np.flatnonzero(~np.isnan(variance))
        if run.summary["collapsed"] and len(seen):
            at = run.curves["env_steps"][seen[-1]], max(variance[seen[-1]], LEAST_VARIANCE)
            axes.plot(*at, marker="x", color=style.colour, markersize=7, markeredgewidth=1.8, linestyle="none", clip_on=False, zorder=4)


def _mark_collapse(axes: Axes) -> None:
    low, high = axes.get_ylim()
    if low < 10 * PAPER_VARIANCE:
        axes.set_ylim(min(low, PAPER_VARIANCE / 3), high)
        axes.axhline(PAPER_VARIANCE, color=GREY, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
        beside: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "linespacing": 1.1}
        text = "the paper's\nthreshold\n1e-7"  # outside the panel: no marker is there
        axes.annotate(text, (1, PAPER_VARIANCE), xycoords=("axes fraction", "data"), color=GREY, fontsize=7.5, **beside)


def _legend(figure: Figure, configurations: Sequence[Configuration], styles: Sequence[_Style], title: str | None) -> None:
    """Put the legend above the panels and make the figure higher: labels may be long and many."""
    texts: list[str] = []
    handles: list[Any] = []
    for configuration, style in zip(configurations, styles, strict=True):
        runs, collapsed = len(configuration.runs), sum(run.summary["collapsed"] for run in configuration.runs)
        told = f"{runs} run{'s' if runs > 1 else ''}" + (f", {collapsed} collapsed" if collapsed else "")
        unbroken = told.replace(" ", "\N{NO-BREAK SPACE}")
        texts.append(textwrap.fill(f"{configuration.label} ({unbroken})", 90).replace("\N{NO-BREAK SPACE}", " "))
        band = Patch(color=style.colour, alpha=0.16 if runs > 1 else 0, linewidth=0)
        handles.append((band, Line2D([], [], **_line(style))))
    columns = max(1, min(len(texts), 96 // (8 + max(map(len, texts)))))
    rows = -(-len(texts) // columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * (rows + sum(text.count("\n") for text in texts) + bool(title)))
    figure.legend(
        handles,
        [textwrap.indent(literal(text), " ") for text in texts],  # the space: matplotlib hides labels that start with an underscore
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        handlelength=3.6,
        handler_map={tuple: HandlerTuple(ndivide=1)},
        title=title and literal(title),
        alignment="left",
        title_fontproperties={"size": 11, "weight": "bold"},
    )


def _caption(configurations: Sequence[Configuration]) -> str:
    counts = [len(configuration.runs) for configuration in configurations]
    collapsed = any(run.summary["collapsed"] for configuration in configurations for run in configuration.runs)
    crosses = " ×: a run that ends collapsed, by its variance / mean square." if collapsed else ""
    if max(counts, default=1) == 1:
        return f"One run a line.{crosses}"
    middle = (
        "Interquartile mean" if min(counts) >= 4 else "Mean" if max(counts) < 4 else "Interquartile mean (of fewer than 4 runs the mean)"
    )
    return f"{middle} over runs, where all have one; shaded: its {CONFIDENCE:.0%} bootstrap interval.{crosses}"


def literal(text: str) -> str:
    """The text with dollars escaped, which would start a formula, and with the hat of ∇̂ drawn clear of the sign."""
    return re.sub("(.)\u0302", r"$\\mathregular{\\hat{\1}}$", text.replace("$", r"\$"))

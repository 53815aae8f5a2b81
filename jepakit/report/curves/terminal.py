"""The curves of runs in a terminal: charts of what matters most, a sparkline of everything else."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jepakit.report.curves.braille import COLOURS, chart, number, sparkline
from jepakit.report.curves.history import RETURN, Series
from jepakit.report.curves.metrics import LABELS, LOGARITHMIC, panels
from jepakit.report.curves.recorded import Recorded

CHARTS = (RETURN, "embedding/variance", "embedding/rank", "loss/jepa")
HEIGHT = 8  #: lines of a chart
WIDEST = 76  #: columns of a chart; two stand side by side where there is room
NARROWEST = 24
UNLIMITED = 100  #: columns where there is no terminal
MOST_CURVES = len(COLOURS)  #: of one chart


def curves_in_text(runs: Sequence[Recorded], width: int) -> RenderableType:
    """The curves of runs, for a terminal of ``width`` columns."""
    parts: list[RenderableType] = []
    shown = runs[:MOST_CURVES]
    for run, colour in zip(shown, COLOURS, strict=False):
        parts.append(Text(run.title if len(runs) == 1 else f"━ {run.label}: {run.state}", style="bold" if len(runs) == 1 else colour))
    if len(runs) > len(shown):
        parts.append(Text(f"and {len(runs) - len(shown)} more, which only an image shows: --out FILE.png"))
    for run in shown:
        collapses = [f"{verdict} at {steps:,}" for verdict, steps in run.verdicts]
        if collapses:
            parts.append(Text(f"{'' if len(runs) == 1 else run.label + ': '}embedding {', '.join(collapses)} env steps", style="bold red"))
    side_by_side = 2 if width >= 2 * WIDEST // 5 * 4 else 1
    columns = max(NARROWEST, min(WIDEST, width // side_by_side - (2 if side_by_side > 1 else 0)))
    charts = [_chart(shown, metric, columns) for metric in CHARTS if any(metric in run.history for run in shown)]
    grid = Table.grid(padding=(0, 2, 1, 0))
    for start in range(0, len(charts), side_by_side):
        grid.add_row(*charts[start : start + side_by_side])
    parts.append(grid)
    if len(runs) == 1:
        parts.append(_others(runs[0], width))
    return Group(*parts)


def _chart(runs: Sequence[Recorded], metric: str, columns: int) -> Text:
    curves = [run.history.get(metric) for run in runs]
    values = [curve for curve in curves if curve is not None]
    logarithmic = metric in LOGARITHMIC and all(curve.values.min() >= 0 for curve in values)
    drawn = [curve if curve is not None else _nothing(values[0]) for curve in curves]
    heading = f"{LABELS.get(metric, metric)}{', logarithmic' if logarithmic else ''}"
    return Text(heading[:columns] + "\n", style="bold") + chart(drawn, columns, HEIGHT, logarithmic)


def _nothing(like: Series) -> Series:
    """A curve outside the axes' range of another: it keeps the colours in their order."""
    return Series(like.env_steps[:0], like.values[:0])


def _others(run: Recorded, width: int) -> RenderableType:
    names = [name for panel in panels([run.history]) for name in panel.metrics if name not in CHARTS]
    narrow = width < 60
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("metric", overflow="fold")
    table.add_column("", no_wrap=True)
    for heading in ("last",) if narrow else ("first", "last", "lowest", "highest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in names:
        values = run.history[name].values
        figures = values[-1:] if narrow else (values[0], values[-1], values.min(), values.max())
        table.add_row(Text(name), sparkline(values, 12 if narrow else 24), *(number(float(value)) for value in figures))
    return table

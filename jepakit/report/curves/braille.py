"""Curves as text: a chart of braille dots, and a sparkline of blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.text import Text

from jepakit.report.curves.history import Array, Series

BLOCKS = "▁▂▃▄▅▆▇█"
COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red", "white", "bright_black")
_BLANK = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  #: bits of a cell of braille, [row of 4][column of 2]
LEAST = 1e-12  #: drawn in place of zero on a logarithmic axis
LABEL = 9  #: columns left of the axis


def chart(curves: Sequence[Series], width: int, height: int, logarithmic: bool = False) -> Text:
    """Curves over shared axes.

    Args:
        curves: The curves, each in a colour of its own, one or more of them with values.
        width: Columns of the whole chart, labels included.
        height: Lines of the chart, without the line of env steps.
        logarithmic: Whether the vertical axis is.
    """
    columns = max(width - LABEL - 1, 4)
    drawn = [Series(curve.env_steps, _scaled(curve.values, logarithmic)) for curve in curves]
    there = [curve for curve in drawn if len(curve.values)]
    first, last = _range([curve.env_steps for curve in there])
    low, high = _range([curve.values for curve in there])
    cells = np.zeros((height, columns), dtype=int)
    owners = np.zeros((height, columns), dtype=int)
    for index, curve in enumerate(drawn):
        if not len(curve.values):
            continue  # it only has a colour
        for x, (bottom, top) in enumerate(_columns(curve, 2 * columns, first, last)):
            if np.isnan(bottom):
                continue
            ends = [round((4 * height - 1) * (high - value) / (high - low)) for value in (top, bottom)]
            for y in range(ends[0], ends[1] + 1):
                cells[y // 4, x // 2] |= _DOTS[y % 4][x % 2]
                owners[y // 4, x // 2] = index
    labels = {0: high, height // 2: high - (high - low) * (height // 2 * 4 + 1.5) / (4 * height - 1), height - 1: low}
    text = Text()
    for row in range(height):
        told = number(10 ** labels[row] if logarithmic else labels[row]) if row in labels else ""
        text.append(f"{told:>{LABEL}}{'┤' if told else '│'}", style="dim")
        for cell, owner in zip(cells[row], owners[row], strict=True):
            text.append(chr(_BLANK + cell), style=COLOURS[owner % len(COLOURS)])
        text.append("\n")
    ends_of_axis = f"{first:,.0f}", f"{last:,.0f} env steps"
    text.append(" " * LABEL + "└" + ends_of_axis[0].ljust(max(1, columns - len(ends_of_axis[1]))) + ends_of_axis[1], style="dim")
    return text


def sparkline(values: Array, width: int) -> str:
    """Values as a line of blocks, at most ``width`` of them; each is the mean of its part. Empty without values."""
    if not len(values):
        return ""
    parts = np.array_split(values, min(width, len(values)))
    means = np.array([part.mean() for part in parts])
    low, high = means.min(), means.max()
    steps = np.zeros(len(means)) if high == low else (means - low) / (high - low) * (len(BLOCKS) - 1)
    return "".join(BLOCKS[round(step)] for step in steps)


def number(value: float) -> str:
    """A number in at most eight characters."""
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _scaled(values: Array, logarithmic: bool) -> Array:
    return np.log10(np.maximum(values, LEAST)) if logarithmic else values


def _range(values: Sequence[Array]) -> tuple[float, float]:
    low, high = min(float(each.min()) for each in values), max(float(each.max()) for each in values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _columns(curve: Series, count: int, first: float, last: float) -> list[tuple[float, float]]:
    """The lowest and the highest value in each of ``count`` columns, joined to the column before; NaN outside the curve."""
    centres = np.linspace(first, last, count)
    low = np.interp(centres, curve.env_steps, curve.values, left=np.nan, right=np.nan)
    high = low.copy()
    at = np.round((curve.env_steps - first) / (last - first) * (count - 1)).astype(int)
    np.fmin.at(low, at, curve.values)
    np.fmax.at(high, at, curve.values)
    joined = [(low[0], high[0])]
    for x in range(1, count):  # a column reaches halfway to its neighbour
        middle = (low[x - 1] + high[x - 1]) / 2
        joined.append((np.fmin(low[x], middle), np.fmax(high[x], middle)) if not np.isnan(low[x]) else (low[x], high[x]))
    return joined

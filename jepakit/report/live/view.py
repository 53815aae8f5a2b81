"""The board as a table, with a chart and the latest warnings where there is room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from jepakit.errors import printable
from jepakit.report.curves.braille import COLOURS, chart, number, sparkline
from jepakit.report.curves.history import Series
from jepakit.report.inventory import figure
from jepakit.report.live.board import SILENT, Watched, latest_warnings

HEADINGS = ("run", "configuration", "seed", "env steps", "done", "return", "curve", "var/sq", "steps/s", "state", "warning")
LESS = (
    "warning",
    "env steps",
    "configuration",
    "seed",
    "var/sq",
    "steps/s",
    "done",
    "curve",
    "return",
)  #: left out first where it is narrow
RIGHT = ("seed", "env steps", "done", "return", "var/sq", "steps/s")  #: numbers
WIDEST = {"configuration": 36, "warning": 44}
CURVE = 16  #: columns of a sparkline
STATES = {"running": "cyan", "finished": "green", "failed": "bold red", "killed": "red", "interrupted": "yellow", "stopped": "yellow"}
ALIVE = 1e-3  #: variance over mean square; less is shown as a warning, less than a run's threshold in red
CHART_ROOM = 34  #: lines of a terminal from which on a chart is shown
CHART_HEIGHT = 8
MOST_DRAWN = 6  #: curves of the chart
MOST_WARNINGS = 3


def picture(runs: Sequence[Watched], width: int, height: int | None = None, first: int = 0, hint: str = "") -> RenderableType:
    """The board for a terminal.

    Args:
        runs: The runs, in order.
        width: Columns.
        height: Lines; None for all runs, without a chart.
        first: The first run to show.
        hint: A line on the keys.
    """
    parts: list[RenderableType] = [_totals(runs)]
    room = len(runs)
    drawn: list[Watched] = []
    if height is not None:
        warned = latest_warnings(runs, MOST_WARNINGS)
        if height >= CHART_ROOM:
            drawn = [run for run in runs if len(run.returns) > 1][:MOST_DRAWN]
        room = max(1, height - 4 - len(warned) - (CHART_HEIGHT + 3 if drawn else 0))
        if drawn:
            curves = [Series(*map(np.array, zip(*run.returns, strict=True))) for run in drawn]
            parts += [Text("return, mean of the last 100 episodes", style="bold"), chart(curves, min(width, 110), CHART_HEIGHT), Text()]
    shown = runs[first : first + room]
    parts.append(_table(shown, width, {run.path: COLOURS[at] for at, run in enumerate(drawn)}))
    if height is not None:
        if len(shown) < len(runs):
            parts.append(Text(f"runs {first + 1} to {first + len(shown)} of {len(runs)}", style="dim"))
        parts += [_line(run, width) for run in warned]
        parts.append(Text(hint[:width], style="dim"))
    return Group(*parts)


def _totals(runs: Sequence[Watched]) -> Text:
    counts = Counter(run.state for run in runs)
    text = Text(f"{len(runs)} run{'' if len(runs) == 1 else 's'}", style="bold")
    for state, count in counts.most_common():
        text.append(f"  {count} {printable(state)}", style=STATES.get(state, ""))
    speed = sum(run.steps_per_second or 0 for run in runs if run.state == "running")
    return text.append(f"  {speed:,.0f} steps/s together", style="dim") if speed else text


def _table(runs: Sequence[Watched], width: int, marks: dict[object, str]) -> Group:
    """The runs, with as many columns as fit."""
    rows = [dict(zip(HEADINGS, [_end(run.name, max(14, min(40, width // 3))), *_cells(run)], strict=True)) for run in runs]
    needed = {
        heading: min(WIDEST.get(heading, 99), max([len(heading), *(row[heading].cell_len for row in rows)])) + 2 for heading in HEADINGS
    }
    kept = _fitting(needed, width)
    needed = {heading: columns for heading, columns in needed.items() if heading in kept}
    needed["run"] = max(8, min(needed["run"], width - sum(columns for heading, columns in needed.items() if heading != "run")))
    lines = [_laid_out({heading: Text(heading, style="bold") for heading in needed}, needed)]
    for run, row in zip(runs, rows, strict=True):
        if colour := marks.get(run.path):
            row["run"].stylize(colour)
            row["curve"].stylize(colour)
        lines.append(_laid_out(row, needed))
    return Group(*lines)


def _laid_out(row: Mapping[str, Text], needed: Mapping[str, int]) -> Text:
    """A line of the table. Rich's tables need seconds for thousands of them."""
    line = Text(no_wrap=True)
    for heading, columns in needed.items():
        cell = row[heading].copy()
        cell.truncate(columns - 2, overflow="ellipsis")
        room = columns - 2 - cell.cell_len
        before = room if heading in RIGHT else 0
        line.append(" " * before).append_text(cell).append(" " * (room - before + 2))
    line.rstrip()
    return line


def _fitting(needed: Mapping[str, int], width: int) -> set[str]:
    """The headings of the columns that fit, the most important ones."""
    kept = set(needed) - set(LESS)
    for heading in reversed(LESS):
        if sum(needed[each] for each in kept) + needed[heading] <= width:
            kept.add(heading)
    return kept


def _cells(run: Watched) -> list[Text]:
    """What stands behind the run's name."""
    ratio = run.ratio
    threshold = run.recipe.get("collapse_threshold", 1e-5)
    dead = ratio is not None and isinstance(threshold, (int, float)) and ratio < threshold
    style = "bold red" if dead else "yellow" if ratio is not None and ratio < ALIVE else ""
    returns = np.array([value for _, value in run.returns])
    newest = figure(run.summary, "return_last_100")
    if newest is None and len(returns):
        newest = float(returns[-1])
    speed = figure(run.summary, "steps_per_second") or run.steps_per_second
    seed = run.recipe.get("seed")
    return [
        Text(run.configuration or "-"),
        Text(str(seed)[:20] if isinstance(seed, int) else "-"),
        Text(f"{run.env_steps:,}"),
        Text("-" if run.done is None else f"{run.done:.0%}"),
        Text("-" if newest is None else number(newest)),
        Text(sparkline(returns, CURVE)),
        Text("-" if ratio is None else f"{ratio:.1e}", style=style),
        Text("-" if speed is None else f"{speed:,.0f}"),
        _state(run),
        Text(run.warning, style="yellow"),
    ]


def _state(run: Watched) -> Text:
    state = printable(run.state)[:20]
    if run.silent > SILENT:
        return Text(f"{state}, silent {_minutes(run.silent)}", style="yellow")
    return Text(state, style=STATES.get(run.state, ""))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _end(name: str, most: int) -> Text:
    """The name, or its end, which tells runs apart."""
    name = printable(name)
    return Text(name if len(name) <= most else f"…{name[1 - most :]}")


def _line(run: Watched, width: int) -> Text:
    when = run.warned_at[11:16]
    text = f"{when} {run.name}: {run.warning}"
    return Text(printable(text if len(text) <= width else f"{text[: width - 1]}…"), style="yellow")

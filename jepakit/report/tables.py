"""A comparison as text: tables for the terminal and Markdown, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from jepakit.errors import UserError
from jepakit.files.writing import write_atomically
from jepakit.report.comparison import Pair, Row, notes
from jepakit.report.statistics import CONFIDENCE, RESAMPLES, Estimate, Reached

Table = tuple[list[str], list[list[str]]]  #: headings and rows of cells


def row_table(rows: Sequence[Row]) -> Table:
    """The statistics of each configuration."""
    thresholds = list(rows[0].reached) if rows else []
    evaluated = any(row.evaluation for row in rows)
    headings = ["configuration", "runs", "final return", "AUC", *(f"steps to {at:g}" for at in thresholds)]
    headings += ["variance", "rank", "collapsed"]
    cells = [
        [
            row.label,
            str(len(row.runs)),
            estimated(row.final_return),
            estimated(row.area_under_curve),
            *(_reached(row.reached[at]) for at in thresholds),
            "–" if row.variance is None else f"{row.variance:.2g}",
            "–" if row.rank is None else f"{row.rank:.1f}",
            f"{row.collapsed}/{len(row.runs)}",
            *([estimated(row.greedy), estimated(row.evaluation)] if evaluated else []),
        ]
        for row in rows
    ]
    return headings + (["held out, greedy", "held out, sampled"] if evaluated else []), cells


def pair_table(pairs: Sequence[Pair]) -> Table:
    """The probability of improvement of each pair."""
    return ["ends higher", "than", "probability"], [[pair.better, pair.worse, estimated(pair.probability, ".2f")] for pair in pairs]


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    escaped = str.maketrans({"|": "&#124;", "<": "&lt;", "\n": " "})
    return "".join(f"| {' | '.join(cell.translate(escaped) for cell in line)} |\n" for line in lines)


def write_tables(rows: Sequence[Row], pairs: Sequence[Pair], folder: Path, figure: str | None = None) -> tuple[Path, Path]:
    """Write ``compare.md`` and ``compare.json``.

    Args:
        rows: One per configuration.
        pairs: The pairs of configurations.
        folder: The folder to write to.
        figure: The file name of a figure in ``folder`` to show on the page.

    Returns:
        The paths of the two files.

    Raises:
        UserError: The folder cannot be written to.
    """
    page = [f"![Return and embedding variance against env steps]({figure})\n"] if figure else []
    page += [markdown(*table) for table in (row_table(rows), pair_table(pairs)) if table[1]]
    page += [f"{note}\n" for note in notes(rows)]
    content = {
        "interval": {"confidence": CONFIDENCE, "resamples": RESAMPLES},
        "configurations": [asdict(row) | _named(row) for row in rows],
        "pairs": [asdict(pair) | {"probability": pair.probability._asdict()} for pair in pairs],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "compare.md", "\n".join(page))
        write_atomically(folder / "compare.json", json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"can't write to {folder}: {error.strerror}") from None
    return folder / "compare.md", folder / "compare.json"


def _named(row: Row) -> dict[str, object]:
    """A row's named tuples as JSON objects."""
    estimates = {name: getattr(row, name) for name in ("final_return", "area_under_curve", "evaluation", "greedy")}
    return {name: value and value._asdict() for name, value in estimates.items()} | {
        "reached": [{"threshold": at, **found._asdict()} for at, found in row.reached.items()]
    }


def estimated(estimate: Estimate | None, form: str = ".1f") -> str:
    """The estimate with its interval in brackets."""
    if estimate is None:
        return "–"
    interval = estimate.interval
    return f"{estimate.value:{form}}" + (f" [{interval.low:{form}}, {interval.high:{form}}]" if interval else "")


def _reached(found: Reached) -> str:
    return f"{found.by}/{found.of}" + ("" if found.median is None else f", median {found.median:,.0f}")

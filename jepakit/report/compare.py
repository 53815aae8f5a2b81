"""Runs side by side from Python: what ``jepakit compare`` does, for scripts and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jepakit.report.comparison import Pair, Row, compare_pairs, notes, summarise
from jepakit.report.labels import Configuration, group
from jepakit.report.runs import load_runs
from jepakit.report.tables import markdown, pair_table, row_table, write_tables


@dataclass(frozen=True)
class Comparison:
    """Configurations side by side; as text, the tables that ``jepakit compare`` prints, in Markdown."""

    configurations: tuple[Configuration, ...]
    rows: tuple[Row, ...]  #: one for each configuration
    pairs: tuple[Pair, ...]  #: of every two configurations, which is better, and how surely
    notes: tuple[str, ...]  #: what to know about the figures

    def __str__(self) -> str:
        tables = [markdown(*table) for table in (row_table(self.rows), pair_table(self.pairs)) if table[1]]
        return "\n".join([*tables, *self.notes])

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return str(self)

    def write(self, folder: str | Path, *, each_run: bool = False) -> tuple[Path, ...]:
        """Write ``compare.md``, ``compare.json``, ``curves.png`` and ``curves.svg``.

        Args:
            folder: Where to; made where it is missing.
            each_run: Draw every run, too, as a thin line.

        Raises:
            UserError: It cannot be written.
        """
        from jepakit.report.figures import plot_curves  # matplotlib takes a while

        folder = Path(folder)
        figures = plot_curves(self.configurations, folder / "curves", each_run=each_run)
        return (*write_tables(self.rows, self.pairs, folder, figures[0].name), *figures)


def compare(runs: str | Path | Sequence[str | Path], thresholds: Sequence[float] = ()) -> Comparison:
    """Compare configurations over their seeds.

    Args:
        runs: Runs' folders, records of runs, or folders that hold either at any depth.
        thresholds: Returns; for each, count the env steps until it was reached.

    Raises:
        UserError: There are no finished runs.
    """
    folders = [runs] if isinstance(runs, (str, Path)) else runs
    configurations = group(load_runs([Path(folder) for folder in folders]))
    rows = summarise(configurations, thresholds)
    return Comparison(tuple(configurations), tuple(rows), tuple(compare_pairs(configurations)), tuple(notes(rows)))

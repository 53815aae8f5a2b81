"""Comparisons from Python: ``jepakit compare`` for scripts and notebooks."""

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
    """A comparison of configurations. ``str()`` gives the tables of ``jepakit compare`` in Markdown; a notebook shows them."""

    configurations: tuple[Configuration, ...]
    rows: tuple[Row, ...]  #: one per configuration
    pairs: tuple[Pair, ...]  #: for every two configurations, the probability of improvement
    notes: tuple[str, ...]  #: how to read the numbers

    def __str__(self) -> str:
        tables = [markdown(*table) for table in (row_table(self.rows), pair_table(self.pairs)) if table[1]]
        return "\n".join([*tables, *self.notes])

    def _repr_markdown_(self) -> str:
        """The text that a notebook shows."""
        return str(self)

    def write(self, folder: str | Path, *, each_run: bool = False) -> tuple[Path, ...]:
        """Write ``compare.md``, ``compare.json``, ``curves.png`` and ``curves.svg``.

        Args:
            folder: The folder to write to; created if missing.
            each_run: Also draw every run as a thin line.

        Returns:
            The paths of the four files.

        Raises:
            UserError: The folder cannot be written to.
        """
        from jepakit.report.figures import plot_curves  # importing matplotlib is slow

        folder = Path(folder)
        figures = plot_curves(self.configurations, folder / "curves", each_run=each_run)
        return (*write_tables(self.rows, self.pairs, folder, figures[0].name), *figures)


def compare(runs: str | Path | Sequence[str | Path], thresholds: Sequence[float] = ()) -> Comparison:
    """Compare configurations over their seeds.

    Args:
        runs: Run folders, records, or folders that contain either at any depth.
        thresholds: Returns; for each, report the env steps until it was reached.

    Raises:
        UserError: There are no finished runs.
    """
    folders = [runs] if isinstance(runs, (str, Path)) else runs
    configurations = group(load_runs([Path(folder) for folder in folders]))
    rows = summarise(configurations, thresholds)
    return Comparison(tuple(configurations), tuple(rows), tuple(compare_pairs(configurations)), tuple(notes(rows)))

"""The report of `jepakit reproduce`: figure, table, a verdict on every claim, and a comparison with the recorded runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepakit.errors import UserError
from jepakit.files.writing import write_atomically
from jepakit.report.claims import BASELINE, J_ALONE, J_GRAD, J_REG, Judged, judge, symbol
from jepakit.report.comparison import Pair, Row, compare_pairs, notes, summarise
from jepakit.report.figures import plot_curves
from jepakit.report.labels import Configuration
from jepakit.report.runs import Run
from jepakit.report.statistics import Estimate
from jepakit.report.tables import Table, estimated, markdown, pair_table, row_table

#: In the paper's order; the words help where a hat is hard to see.
WORDS = {BASELINE: "baseline", J_GRAD: "JEPA and RL gradients", J_ALONE: "JEPA alone", J_REG: "JEPA and Eq. 2"}
COMPARED = ("final_return", "area_under_curve")  #: the estimates of a row that are compared with the recorded runs


@dataclass(frozen=True)
class Reproduction:
    """The results of the runs of Figure 3."""

    quick: bool  #: the runs are too short to judge the paper
    configurations: list[Configuration]
    rows: list[Row]
    pairs: list[Pair]
    judged: list[Judged]

    @classmethod
    def of(cls, runs: Sequence[Run], longer: Sequence[Run], *, quick: bool) -> Reproduction:
        """Group runs by the paper's symbols, and judge the claims.

        Args:
            runs: The runs of Figure 3.
            longer: The runs of J alone that train for longer.
            quick: Whether the runs are too short to judge the paper; the title then says so.
        """
        by_symbol: dict[str, list[Run]] = {}
        for run in sorted(runs, key=lambda run: run.seed):
            by_symbol.setdefault(symbol(run.recipe), []).append(run)
        configurations = [Configuration(f"{name} {words}", tuple(by_symbol[name])) for name, words in WORDS.items() if name in by_symbol]
        return cls(quick, configurations, summarise(configurations), compare_pairs(configurations), judge(by_symbol, longer))

    @property
    def title(self) -> str:
        """The title of the page and of the figure."""
        return "JEPA for RL, Figure 3" + (" (QUICK: far too short to judge the paper)" if self.quick else "")

    def tables(self) -> list[Table]:
        """The tables of configurations, pairs and claims."""
        return [row_table(self.rows), pair_table(self.pairs), claim_table(self.judged, self.quick)]

    def notes(self) -> list[str]:
        """Notes on how to read the tables."""
        return [*notes(self.rows), HOW_TO_READ]

    def content(self) -> dict[str, Any]:
        """All results as JSON values."""
        return {
            "title": self.title,
            "quick": self.quick,
            "configurations": {
                row.label: {"runs": list(row.runs), "seeds": list(row.seeds), "total_steps": row.total_steps}
                | {name: _plain(getattr(row, name)) for name in COMPARED}
                | {"variance": row.variance, "collapsed": row.collapsed}
                for row in self.rows
            },
            "claims": [
                {
                    "configuration": one.claim.configuration,
                    "claim": one.claim.text,
                    "statistic": one.claim.statistic,
                    "estimate": _plain(one.estimate),
                    "verdict": one.verdict,
                    "note": one.note,
                }
                for one in self.judged
            ],
        }

    def write(self, folder: Path, against: list[str]) -> list[Path]:
        """Write ``figure3.png``, ``.svg``, ``.md`` and ``.json``.

        Args:
            folder: The folder to write to.
            against: Lines that compare the results with the recorded ones.

        Returns:
            The paths of the four files.

        Raises:
            UserError: The folder cannot be written to.
        """
        figures = plot_curves(self.configurations, folder / "figure3", title=self.title, each_run=True)
        captions = ("", "## Which ends higher", "## The claims of section 3")
        page = [f"# {self.title}", f"![Return and embedding variance against env steps]({figures[0].name})"]
        for caption, table in zip(captions, self.tables(), strict=True):
            page += [text for text in (caption, table[1] and markdown(*table)) if text]
        page += [*self.notes(), *against]
        try:
            write_atomically(folder / "figure3.md", "\n\n".join(text.strip() for text in page) + "\n")
            write_atomically(folder / "figure3.json", json.dumps(self.content(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        except OSError as error:
            raise UserError(f"can't write to {folder}: {error.strerror}") from None
        return [*figures, folder / "figure3.md", folder / "figure3.json"]


HOW_TO_READ = (
    "A claim is *held* if the whole 95% interval of its figure lies in the needed range, *not held* if the whole interval lies outside, "
    "and otherwise *undecided*."
)


def claim_table(judged: Sequence[Judged], quick: bool) -> Table:
    """Every claim with its figure, the needed range, and the verdict."""
    return ["", "the paper says", "measured", "figure", "needed", "verdict" + " (QUICK)" * quick], [
        [one.claim.configuration, one.claim.text, one.claim.statistic, estimated(one.estimate, ".3g"), one.claim.needed, _verdict(one)]
        for one in judged
    ]


def compare_with(recorded: Path, rows: Sequence[Row]) -> list[str]:
    """Whether each configuration's intervals overlap those of ``recorded``, a ``figure3.json``; one line per estimate."""
    known = json.loads(recorded.read_text(encoding="utf-8"))["configurations"]
    lines = []
    for row in rows:
        for name in COMPARED:
            here, there = getattr(row, name), known.get(row.label, {}).get(name)
            if here is None or here.interval is None or there is None:
                continue
            low, high = there["interval"]
            meets = here.interval.low <= high and low <= here.interval.high
            said = f"{row.label} {name.replace('_', ' ')}: here {estimated(here)}, recorded {there['value']:.1f} [{low:.1f}, {high:.1f}]"
            lines.append(f"{said}: {'the intervals overlap' if meets else 'the intervals DO NOT overlap'}")
    return lines


def _verdict(one: Judged) -> str:
    return one.verdict + (f" ({one.note})" if one.note else "")


def _plain(found: Estimate | None) -> dict[str, Any] | None:
    return found and {"value": found.value, "interval": found.interval and list(found.interval)}

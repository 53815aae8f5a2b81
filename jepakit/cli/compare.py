"""``jepakit compare``: statistics of configurations over their seeds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli.options import RunsArg


def command(
    runs: RunsArg,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write compare.md, compare.json, curves.png and curves.svg to DIR.", show_default=False),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(
            "--threshold", metavar="RETURN", help="Report the env steps until the return reaches this. May be repeated.", show_default=False
        ),
    ] = None,
    each_run: Annotated[bool, typer.Option("--each-run", help="Also draw every run as a thin line.")] = False,
) -> None:
    """Compare configurations over their seeds: returns with intervals, collapse, probability of improvement, curves."""
    from jepakit.cli.output import emit, fitting_table
    from jepakit.errors import UserError
    from jepakit.report.compare import compare
    from jepakit.report.tables import pair_table, row_table

    if odd := [at for at in threshold or () if not math.isfinite(at)]:
        raise UserError(f"--threshold {odd[0]}: write a finite return")
    found = compare(runs, threshold or ())
    less = ("held out, greedy", "AUC", "runs", "rank", "variance")
    statistics, left_out = fitting_table(*row_table(found.rows), foldable=("configuration",), less=less)
    pairs = [fitting_table(*pair_table(found.pairs), foldable=("ends higher", "than"))[0]] if found.pairs else []
    narrow = [f"not shown, for want of width: {', '.join(left_out)}"] if left_out else []
    emit(*(line for grid in (statistics, *pairs) for line in (grid, "")), *narrow, *found.notes)
    if out is not None:
        emit(f"wrote {', '.join(map(str, found.write(out, each_run=each_run)))}")

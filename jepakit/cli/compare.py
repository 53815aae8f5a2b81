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
    from jepakit.cli.output import emit, table
    from jepakit.errors import UserError
    from jepakit.report.compare import compare
    from jepakit.report.tables import pair_table, row_table

    if odd := [at for at in threshold or () if not math.isfinite(at)]:
        raise UserError(f"--threshold {odd[0]}: write a finite return")
    found = compare(runs, threshold or ())
    tables = [table(*headings, rows=cells) for headings, cells in (row_table(found.rows), pair_table(found.pairs)) if cells]
    emit(*(line for grid in tables for line in (grid, "")), *found.notes)
    if out is not None:
        emit(f"wrote {', '.join(map(str, found.write(out, each_run=each_run)))}")

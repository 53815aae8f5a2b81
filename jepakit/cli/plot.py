"""``jepakit plot``: the curves of single runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli.options import RunsArg


def command(
    runs: RunsArg,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write a PNG or an SVG (FILE.png, FILE.svg) in place of text.", show_default=False),
    ] = None,
) -> None:
    """Draw the curves of single runs, finished or not: return, losses, embedding, and whatever else each has recorded."""
    from jepakit.cli.output import columns, emit, to_terminal
    from jepakit.report.curves.recorded import load_recorded

    found = load_recorded(runs)
    if out is not None:
        from jepakit.report.curves.image import draw_runs  # importing matplotlib is slow

        emit(f"wrote {draw_runs(found, out)}")
        return
    from jepakit.report.curves.terminal import UNLIMITED, curves_in_text

    emit(curves_in_text(found, columns() if to_terminal() else min(columns(), UNLIMITED)))

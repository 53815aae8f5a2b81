"""``jepakit report``: what runs did, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli.options import RunsArg


def command(
    runs: RunsArg,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The HTML file to write.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option("--title", help="The page's title.", show_default=False)] = None,
) -> None:
    """Write what runs did as one HTML file, which opens without a network: verdict on collapse, curves, probes, time, provenance."""
    from jepakit.cli.output import emit
    from jepakit.files.writing import readable
    from jepakit.report.page.page import write_report
    from jepakit.report.page.study import load_study

    path = write_report(load_study(runs), out, title)
    emit(f"wrote {path} ({readable(path.stat().st_size)})")

"""``jepakit record``: keep finished runs as small files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli.options import RunsArg


def command(
    runs: RunsArg,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Write each record to DIR/<id>.json.", show_default=False)],
) -> None:
    """Write a record of each finished run: one small JSON file, which `compare` reads as it reads the run's folder."""
    from jepakit.cli.output import emit
    from jepakit.report.record import write_record
    from jepakit.report.runs import load_runs

    emit("\n".join(f"{run.name}, seed {run.seed}: {write_record(run, to)}" for run in load_runs(runs)))

"""``jepakit doctor``: check whether this machine can train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="The folder for runs.")] = Path("runs"),
) -> None:
    """Check whether a run would work on this machine; say what is missing and how to fix it."""
    from jepakit.cli.output import emit, table
    from jepakit.machine.doctor import examine
    from jepakit.version import __version__

    findings = examine(runs)
    rows = [("" if one.works else "✗", one.what, one.found + (f"; {one.fix}" if one.fix else "")) for one in findings]
    broken = [one for one in findings if not one.works]
    emit(table("", "what", "found", rows=[("", "jepakit", __version__), *rows]))
    emit(f"a run will not work: {', '.join(one.what for one in broken)}" if broken else "a run will work")
    if broken:
        raise typer.Exit(1)

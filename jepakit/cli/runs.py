"""``jepakit runs``: the runs in a folder and their state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jepakit.report.inventory import Entry


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to search, at any depth.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with sizes in bytes.")] = False,
) -> None:
    """Show the runs in a folder: state, progress, return (mean of the last 100 episodes), size, and whether each can be resumed."""
    import json
    from dataclasses import asdict

    from jepakit.cli.output import counted, emit, fitting_table
    from jepakit.files.writing import readable
    from jepakit.report.inventory import take_inventory

    entries = take_inventory(folder)
    if as_json:
        typer.echo(json.dumps([asdict(entry) | {"path": str(entry.path)} for entry in entries], indent=2))
        return
    if not entries:
        emit(f"no runs in {folder}")
        return
    rows = [_row(entry, folder) for entry in entries]
    headings = ("run", "configuration", "seed", "state", "env steps", "done", "return", "size", "resumable")
    less = ("size", "env steps", "done", "seed", "resumable", "return", "configuration")
    grid, left_out = fitting_table(headings, rows, foldable=("configuration", "resumable"), less=less)
    emit(grid, f"{counted(len(entries), 'run')}, {readable(sum(entry.size for entry in entries))}")
    if left_out:
        emit(f"not shown, for want of width: {', '.join(left_out)}")


def _row(entry: Entry, folder: Path) -> tuple[str, ...]:
    from jepakit.files.writing import readable
    from jepakit.report.inventory import ALREADY

    done = f"{min(1.0, entry.env_steps / entry.total_steps):.0%}" if entry.total_steps and entry.total_steps > 0 else "-"
    resumable = "-" if entry.state in ALREADY else f"no: {entry.why_not}"
    if entry.resumes_at is not None:
        resumable = f"yes, at {entry.resumes_at:,}" if entry.resumes_at else "yes, from the start"
    return (
        str(entry.path.relative_to(folder) if entry.path != folder else entry.path),
        entry.configuration or "-",
        "-" if entry.seed is None else str(entry.seed),
        entry.state,
        f"{entry.env_steps:,}",
        done,
        _told(entry.return_last_100),
        readable(entry.size),
        resumable,
    )


def _told(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

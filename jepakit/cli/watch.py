"""``jepakit watch``: a live view of all runs in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to watch, at any depth.")] = Path("runs"),
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, max=3600.0, help="Time between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one table and exit, as without a terminal.")] = False,
) -> None:
    """Watch all runs in a folder as they train, wherever they are written from: progress, return curves, collapse, latest warnings."""
    import sys

    from jepakit.cli.output import columns, emit, to_terminal
    from jepakit.report.live.board import Board
    from jepakit.report.live.view import picture

    board = Board(folder)
    if once or not to_terminal():
        runs = board.look()
        emit(picture(runs, columns()) if runs else f"no runs in {folder}")
        return
    from jepakit.cli.live import watch

    watch(board, every, sys.stdin)
    emit(picture(board.look(), columns()))

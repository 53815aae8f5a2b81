"""The progress of a sweep: a live table in a terminal, plain lines elsewhere, only failures when quiet."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from time import perf_counter
from typing import Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jepakit.sweep.watched import Watched
from jepakit.training.progress import Silent

PLAIN_SECONDS = 60.0  #: between two plain lines
REDRAW_SECONDS = 0.5
BESIDE_ROWS = 4  #: terminal lines that are not runs: heading, footer, margin
HEADINGS = ("run", "seed", "state", "done", "return", "variance", "steps/s", "ETA")
STYLES = {
    "running": "bold",
    "failed": "bold red",
    "interrupted": "yellow",
    "waiting": "dim",
    "pruned": "dim",
    "recorded": "green",
    "finished": "green",
}


class Board(Protocol):
    """Shows the runs on stderr."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def note(self, text: str) -> None:
        """Show a notice."""
        ...

    def tell(self, run: Watched) -> None:
        """Show that a run has started or ended."""
        ...

    def update(self) -> None:
        """Show the progress, if enough time has passed."""
        ...


def board_for(title: str, runs: Sequence[Watched], *, quiet: bool) -> Board:
    """The board that suits stderr: live in a terminal, plain elsewhere."""
    if quiet:
        return QuietBoard()
    return LiveBoard(title, runs) if sys.stderr.isatty() else PlainBoard(title, runs)


class QuietBoard(Silent):
    """Shows failures only."""

    def tell(self, run: Watched) -> None:
        """Print a line if the run has failed."""
        if run.state == "failed":
            self.warn(f"{named(run)} failed: {run.error}")

    def update(self) -> None:
        """Show nothing."""


class PlainBoard(QuietBoard):
    """Prints a line when a run starts or ends, and a summary every minute."""

    def __init__(self, title: str, runs: Sequence[Watched], stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.runs, self.clock, self.last = runs, Clock(runs), perf_counter()
        self.note(f"{title}: {self.clock.footer()}")

    def note(self, text: str) -> None:
        """Print the notice."""
        print(text, file=self.stream, flush=True)

    def tell(self, run: Watched) -> None:
        """Print the run's state, and its return and variance if it has finished."""
        figures = f": return {figure(run.return_last_100)}, variance {figure(run.variance)}" if run.state == "finished" else ""
        self.note(f"{run.state} {named(run)} ({run.path}){f': {run.error}' if run.error else figures}")

    def update(self) -> None:
        """Print a summary once a minute."""
        if perf_counter() - self.last >= PLAIN_SECONDS:
            self.last = perf_counter()
            running = [f"{named(run)} {run.steps / run.total_steps:.0%}" for run in self.runs if run.state == "running"]
            self.note("; ".join([self.clock.footer(), *running]))


class LiveBoard(QuietBoard):
    """A table that is redrawn in place."""

    def __init__(self, title: str, runs: Sequence[Watched], console: Console | None = None) -> None:
        super().__init__()
        self.title, self.runs, self.clock, self.last = title, runs, Clock(runs), 0.0
        self.console = console or Console(stderr=True, markup=False, emoji=False)
        self.live = Live(console=self.console, auto_refresh=False, vertical_overflow="visible")

    def __enter__(self) -> Self:
        self.live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.live.update(self.table(), refresh=True)
        self.live.__exit__(None, None, None)

    def note(self, text: str) -> None:
        """Print the notice above the table."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def tell(self, run: Watched) -> None:
        """Print a line above the table if the run has failed."""
        if run.state == "failed":
            self.note(f"{named(run)} failed: {run.error}")

    def update(self) -> None:
        """Redraw the table."""
        if perf_counter() - self.last >= REDRAW_SECONDS:
            self.last = perf_counter()
            self.live.update(self.table(), refresh=True)

    def table(self) -> RenderableType:
        """One row per run; only running and failed runs if the terminal has too few lines for all."""
        space = self.console.height - BESIDE_ROWS
        shown = self.runs if len(self.runs) <= space else [run for run in self.runs if run.state in ("running", "failed")][-space:]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading in ("run", "state") else "right", no_wrap=True, overflow="ellipsis")
        for run in shown:
            table.add_row(*cells(run), style=STYLES.get(run.state, ""))
        return Group(table, Text(f"{self.title}: {self.clock.footer()}", style="bold", no_wrap=True, overflow="ellipsis"))


class Clock:
    """The progress of all runs, and the time left at the sweep's speed so far."""

    def __init__(self, runs: Sequence[Watched]) -> None:
        self.runs, self.start, self.before = runs, perf_counter(), sum(run.steps for run in runs)

    def footer(self) -> str:
        """Runs by state, steps per second, ETA."""
        states = Counter(run.state for run in self.runs)
        done = sum(run.steps for run in self.runs)
        left = sum(run.total_steps - run.steps for run in self.runs if run.state in ("running", "waiting"))
        speed = max(0, done - self.before) / max(perf_counter() - self.start, 1e-9)  # a resume goes back to its checkpoint
        parts = [f"{len(self.runs)} runs", *(f"{count} {state}" for state, count in states.items())]
        if left and speed:
            parts += [f"{speed:,.0f} steps/s", f"ETA {duration(left / speed)}"]
        return ", ".join(parts)


def named(run: Watched) -> str:
    """The run's label and seed, for a line of text."""
    return f"`{run.planned.label}` seed {run.planned.seed}"


def cells(run: Watched) -> tuple[Text | str, ...]:
    """The run's row of the table."""
    speed, left = run.steps_per_second, run.seconds_left
    return (
        Text(run.planned.label),  # a Text, so that rich reads no markup in it
        str(run.planned.seed),
        run.state,
        f"{run.steps / run.total_steps:.0%}",
        figure(run.return_last_100),
        figure(run.variance),
        "-" if speed is None else f"{speed:,.0f}",
        "-" if left is None else duration(left),
    )


def figure(value: float | None) -> str:
    """The number with three or four significant digits."""
    return "-" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def duration(seconds: float) -> str:
    """The time as hours, minutes and seconds, such as ``2:07:30``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

"""Progress of a run: a live display in a terminal, plain lines elsewhere, only warnings when quiet."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Protocol, Self, TextIO

PLAIN_SECONDS = 10.0  #: least time between two plain lines
PAIRS = 3  #: figures side by side in the live display


class Progress(Protocol):
    """Shows what a run does, on stderr; results go to stdout."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def batch(self, record: Mapping[str, Any]) -> None:
        """Show a finished batch; ``record`` is its train record."""
        ...

    def resume(self, env_steps: int) -> None:
        """Show that the run resumes at ``env_steps``."""
        ...

    def note(self, text: str) -> None:
        """Show something worth knowing."""
        ...

    def warn(self, text: str) -> None:
        """Show something that may be wrong."""
        ...


def progress_for(title: str, total_steps: int, *, quiet: bool) -> Progress:
    """The display that suits stderr: live in a terminal, plain elsewhere."""
    if quiet:
        return Quiet()
    return Live(title, total_steps) if sys.stderr.isatty() else Plain(title, total_steps)


class Silent:
    """Prints only warnings, to stderr: the base of the displays of runs and of sweeps."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def note(self, text: str) -> None:
        """Print nothing."""

    def warn(self, text: str) -> None:
        """Print one line."""
        print(f"warning: {text}", file=self.stream, flush=True)


class Quiet(Silent):
    """Prints only warnings."""

    def batch(self, record: Mapping[str, Any]) -> None:
        """Print nothing."""

    def resume(self, env_steps: int) -> None:
        """Print nothing."""


class Mute(Quiet):
    """Prints nothing: another process shows the run."""

    def warn(self, text: str) -> None:
        """Print nothing."""


class Plain(Quiet):
    """Prints a line every few seconds, for logs and pipes."""

    def __init__(self, title: str, total_steps: int, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.clock = Clock(total_steps)
        self.last = 0.0
        self.note(title)

    def resume(self, env_steps: int) -> None:
        """Print one line."""
        self.clock.resume(env_steps)
        self.note(f"resuming at {env_steps:,} env steps")

    def batch(self, record: Mapping[str, Any]) -> None:
        """Print a line for the first batch, for the last, and every ``PLAIN_SECONDS`` in between."""
        figures = self.clock.tick(record)
        now = perf_counter()
        if now - self.last >= PLAIN_SECONDS or record["env_steps"] >= self.clock.total_steps:
            self.last = now
            self.note("  ".join(f"{name} {value}" for name, value in figures.items()))

    def note(self, text: str) -> None:
        """Print one line."""
        print(text, file=self.stream, flush=True)


class Live(Quiet):
    """Redraws a bar and a table in place."""

    def __init__(self, title: str, total_steps: int) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        super().__init__()
        self.title = title
        self.clock = Clock(total_steps)
        self.console = Console(stderr=True, markup=False, emoji=False)  # a name may contain `[/…]`
        self.live = RichLive(console=self.console, auto_refresh=False)

    def __enter__(self) -> Self:
        self.live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.live.__exit__(None, None, None)

    def batch(self, record: Mapping[str, Any]) -> None:
        """Redraw the display."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        figures = [(Text(name, style="dim"), Text(value, style="bold")) for name, value in self.clock.tick(record).items()]
        table = Table.grid(padding=(0, 2))
        for start in range(0, len(figures), PAIRS):
            table.add_row(*(cell for pair in figures[start : start + PAIRS] for cell in pair))
        display = Table.grid()
        for row in (Text(self.title, style="bold"), ProgressBar(self.clock.total_steps, record["env_steps"], width=70), table):
            display.add_row(row)
        self.live.update(display, refresh=True)

    def resume(self, env_steps: int) -> None:
        """Print a line above the display."""
        self.clock.resume(env_steps)
        self.note(f"resuming at {env_steps:,} env steps")

    def note(self, text: str) -> None:
        """Print a line above the display."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a line above the display, in colour."""
        from rich.text import Text

        # a Text: rich would lay a style of `print` on the display, too, which it redraws below
        self.console.print(Text(f"warning: {text}", style="bold yellow"), soft_wrap=True)


class Clock:
    """Turns train records into the figures on display."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self.resume(0)

    def resume(self, env_steps: int) -> None:
        """Start counting at ``env_steps`` and at the current time."""
        self.begin = self.steps = env_steps
        self.start = perf_counter()

    def tick(self, record: Mapping[str, Any]) -> dict[str, str]:
        """The figures by name, in display order."""
        steps = record["env_steps"]
        new, self.steps = steps - self.steps, steps
        remaining = (perf_counter() - self.start) / (steps - self.begin) * max(0, self.total_steps - steps)

        seconds = record["time/batch"]
        shares = {f"{part} time": f"{record[f'time/{part}'] / seconds:.0%}" if seconds else "-" for part in ("env", "policy", "learner")}
        figures = {
            "steps": f"{steps:,}/{self.total_steps:,}",
            "done": f"{min(1.0, steps / self.total_steps):.0%}",
            "ETA": f"{int(remaining) // 60}:{int(remaining) % 60:02d}",
            "steps/s": f"{new / seconds:,.0f}" if seconds else "-",
            **shares,
            "return": "-" if record["return_last_100"] is None else f"{record['return_last_100']:.1f}",
        }
        figures |= {name.removeprefix("loss/"): f"{value:.3g}" for name, value in record.items() if name.startswith("loss/")}
        for name, form in (("variance", ".3g"), ("rank", ".1f")):
            value = record[f"embedding/{name}"]
            figures[name] = "-" if value is None else format(value, form)
        return figures

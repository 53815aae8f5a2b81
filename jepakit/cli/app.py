"""The ``jepakit`` command: collects the verbs and turns exceptions into exit codes."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
import warnings
from importlib import import_module
from typing import Annotated

import typer

from jepakit.cli.help import Verb, Verbs
from jepakit.errors import UserError, printable, raised_in, shown
from jepakit.version import __version__

#: Each verb is a file beside this one with a function ``command``. The function imports what it needs, so that ``--help`` stays fast.
VERBS = (
    *("run", "resume", "ablate"),  # training
    *("validate", "show", "list", "explain", "new", "check", "schema"),  # recipes and components
    *("eval", "runs", "compare", "record", "reproduce"),  # results
    "doctor",
)

#: Errors that a path from the command line causes, wherever the code meets it: a user's mistake.
_OF_A_PATH = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EROFS)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # Gymnasium colours its warnings even in a pipe

app = typer.Typer(
    name="jepakit",
    help="Joint-embedding predictive representations for reinforcement learning: from a recipe to a trained agent.",
    no_args_is_help=True,
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _verb in VERBS:
    app.command(_verb, cls=Verb)(import_module(f"jepakit.cli.{_verb}").command)


_show_traceback = False  #: `jepakit --traceback …`


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jepakit {__version__}")
        raise typer.Exit


@app.callback()
def _jepakit(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
    show_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show the full traceback of any error: jepakit --traceback run RECIPE.")
    ] = False,
) -> None:
    global _show_traceback
    _show_traceback = show_traceback


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 failed run, 2 user's mistake, 130 interrupted."""
    # Torch reads this on import: its threads spin for microseconds, not milliseconds, before they sleep. That is as fast on idle cores, and
    # twice as fast when another run shares them (docs/results/throughput.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    warnings.formatwarning = lambda message, *_: f"warning: {printable(_COLOURS.sub('', str(message)))}\n"
    try:
        app(prog_name="jepakit")
    except UserError as error:
        if _show_traceback:
            traceback.print_exc()
        typer.echo(error, err=True)  # not wrapped: an editor could not follow a wrapped ``path:line:column:``
        sys.exit(2)
    except Exception as error:
        # A run has written its traceback to its folder, and a note says where. Without a note nothing was written, so show it here.
        notes = getattr(error, "__notes__", None)
        if notes is None and isinstance(error, OSError) and error.filename and error.errno in _OF_A_PATH:
            typer.echo(f"cannot use {shown(str(error.filename), 300)}: {error.strerror}", err=True)
            sys.exit(2)
        if notes is None or _show_traceback:
            traceback.print_exc()
        place = raised_in(error)
        place = "" if place.startswith("jepakit.") else place  # jepakit's own messages need no module and line
        typer.echo("\n".join([f"failed: {type(error).__name__}: {error}" + (f" (in {place})" if place else ""), *(notes or [])]), err=True)
        sys.exit(1)

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

#: Each is a file beside this one, whose function ``command`` is the verb. It imports what it needs inside: ``--help`` reads them all.
VERBS = (
    *("run", "resume", "ablate"),  # training
    *("validate", "show", "list", "explain", "new", "check", "schema"),  # recipes and components
    *("eval", "runs", "compare", "record", "reproduce"),  # what came of it
    "doctor",
)

#: What is wrong with a path that a user has named, wherever that is noticed.
_OF_A_PATH = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EROFS)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # Gymnasium warns in yellow, in a pipe too

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
        bool, typer.Option("--traceback", help="Of every error, show the whole traceback: jepakit --traceback run RECIPE.")
    ] = False,
) -> None:
    global _show_traceback
    _show_traceback = show_traceback


def main() -> None:
    """Run the command line. Exit codes: 0, 2 a user's mistake, 1 a failed run, 130 interrupted."""
    # Read when torch is first imported: its threads spin for microseconds, not milliseconds, before they sleep. On idle cores that is as
    # fast; beside another run it is twice as fast (docs/results/throughput.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    warnings.formatwarning = lambda message, *_: f"warning: {printable(_COLOURS.sub('', str(message)))}\n"
    try:
        app(prog_name="jepakit")
    except UserError as error:
        if _show_traceback:
            traceback.print_exc()
        typer.echo(error, err=True)  # as it stands: a wrapped ``path:line:column:`` is no longer one
        sys.exit(2)
    except Exception as error:
        # Whoever has already kept the traceback (a run, in its folder) says where in a note; nobody else has, so it is shown.
        notes = getattr(error, "__notes__", None)
        if notes is None and isinstance(error, OSError) and error.filename and error.errno in _OF_A_PATH:
            typer.echo(f"cannot use {shown(str(error.filename), 300)}: {error.strerror}", err=True)
            sys.exit(2)
        if notes is None or _show_traceback:
            traceback.print_exc()
        place = raised_in(error)
        place = "" if place.startswith("jepakit.") else place  # jepakit's own errors say what is wrong
        typer.echo("\n".join([f"failed: {type(error).__name__}: {error}" + (f" (in {place})" if place else ""), *(notes or [])]), err=True)
        sys.exit(1)

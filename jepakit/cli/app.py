"""The ``jepakit`` command: collects the verbs and turns exceptions into exit codes."""

from __future__ import annotations

import errno
import os
import re
import resource
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib import import_module
from typing import Annotated

import typer

from jepakit.cli.help import Verb, Verbs
from jepakit.errors import UserError, printable, raised_in, shown, told
from jepakit.files.streams import drop_unwritten, lossy, open_closed
from jepakit.machine.interrupt import noticed
from jepakit.version import __version__

#: Each verb is a file beside this one with a function ``command``. The function imports what it needs, so that ``--help`` stays fast.
VERBS = (
    *("run", "resume", "ablate", "tune", "record-episodes"),  # training
    *("validate", "show", "list", "explain", "new", "check", "schema"),  # recipes and components
    *("eval", "probe", "imagine", "export", "runs", "watch", "plot", "compare", "report", "record", "export-logs", "reproduce"),  # results
    *("doctor", "profile"),  # this machine
)

#: Verbs that start runs as processes of their own, which would take torchrun's variables for theirs.
START_RUNS = ("ablate", "tune", "reproduce")

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
    app.command(_verb, cls=Verb)(import_module(f"jepakit.cli.{_verb.replace('-', '_')}").command)


_show_traceback = False  #: `jepakit --traceback …`


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jepakit {__version__}")
        raise typer.Exit


@app.callback()
def _jepakit(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
    show_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show the full traceback of any error: jepakit --traceback run RECIPE.")
    ] = False,
) -> None:
    global _show_traceback
    _show_traceback = show_traceback
    ranks = os.environ.get("WORLD_SIZE") if "RANK" in os.environ else ""
    if context.invoked_subcommand in START_RUNS and ranks not in ("", "1", None):
        raise UserError(
            f"torchrun is for `run` and `resume`: each of its {ranks} processes would `{context.invoked_subcommand}`; leave it out"
        )


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 failed run, 2 user's mistake, 130 interrupted."""
    # Torch reads this on import: its threads spin for microseconds, not milliseconds, before they sleep. That is as fast on idle cores, and
    # twice as fast when another run shares them (docs/results/throughput.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    if os.environ.get("WORLD_SIZE", "") not in ("", "1"):  # one rank ends before another: torch's warnings about it would hide our message
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    warnings.formatwarning = lambda message, *_: f"warning: {printable(_COLOURS.sub('', str(message)))}\n"
    open_closed()
    try:
        with redirect_stderr(lossy(sys.stderr)), noticed() as interrupted:
            _call(interrupted)
    except KeyboardInterrupt:  # where Typer did not catch it
        sys.exit(130)
    finally:
        drop_unwritten(sys.stdout, sys.stderr)


def _call(interrupted: Callable[[], bool]) -> None:
    try:
        app(prog_name="jepakit")
    except UserError as error:
        if _show_traceback:
            traceback.print_exc()
        typer.echo(error, err=True)  # not wrapped: an editor could not follow a wrapped ``path:line:column:``
        sys.exit(2)
    except Exception as error:
        if interrupted():
            sys.exit(130)
        # A run has written its traceback to its folder, and a note says where. Without a note nothing was written, so show it here.
        notes = getattr(error, "__notes__", None)
        mistake, failure = _mistake(error), _failure(error)
        if notes is None and mistake:
            typer.echo(mistake, err=True)
            sys.exit(2)
        if (notes is None and not failure) or _show_traceback:
            traceback.print_exc()
        place = raised_in(error)
        place = "" if failure or place.startswith("jepakit.") else place  # jepakit's own messages need no module and line
        failure = failure or f"{type(error).__name__}: {error}"
        typer.echo("\n".join([f"failed: {failure}" + (f" (in {place})" if place else ""), *(notes or [])]), err=True)
        sys.exit(1)


def _mistake(error: Exception) -> str:
    """The message, if the user has caused the error outside a recipe; else empty."""
    if isinstance(error, OSError) and error.filename and error.errno in _OF_A_PATH:
        return f"cannot use {shown(str(error.filename), 300)}: {error.strerror}"
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):  # from `tempfile`
        return f"{error.strerror}: name one in TMPDIR"
    if isinstance(error, FileNotFoundError) and not error.filename:  # from `os.getcwd`
        return "the current folder has been removed: change to another"
    asked = os.environ.get("MUJOCO_GL")
    imported = (frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>")
    if asked and any(str(frame.f_globals.get("__name__")).startswith("mujoco.") for frame in imported):  # torchrl imports MuJoCo
        return f"MUJOCO_GL={shown(asked)}: MuJoCo cannot be imported with it ({told(error)}); unset it, or write MUJOCO_GL=egl"
    return ""


def _failure(error: Exception) -> str:
    """What has failed, if it is neither jepakit nor a component; else empty."""
    from jepakit.files.writing import NO_ROOM

    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        limit = f": it may have {most / 1e6:,.0f} MB, a limit that `ulimit -v unlimited` lifts"
        return "this process ran out of memory" + ("" if most == resource.RLIM_INFINITY else limit)
    if isinstance(error, OSError) and raised_in(error).startswith(("typer.", "rich.")):  # to stdout, as stderr loses what it cannot write
        return f"the result cannot be printed: {error.strerror}"
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return f"no room left to write: {error}"
    return ""

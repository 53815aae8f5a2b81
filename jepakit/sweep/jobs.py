"""The jobs of a sweep: each run as a `jepakit` command, with its recipe in a file that stays."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from jepakit.errors import signal_name
from jepakit.protocols import Ended, Job
from jepakit.storage.folder import RunFolder
from jepakit.storage.mirror import Tail
from jepakit.sweep.plan import Planned

FOLDER = "jobs"  #: beside the runs; `jepakit runs` and `compare` find no run in it


def job_of(run: Planned, folder: Path, home: Path) -> Job:
    """The command that starts a run.

    Args:
        run: The run.
        folder: Its folder, which may not exist yet.
        home: The folder of the sweep's jobs.
    """
    needs, folder = home.absolute() / run.id, folder.absolute()
    return Job(
        name=run.id,
        words=("run", str(needs / "recipe.yaml"), "--out", str(folder), "--quiet"),
        again=("resume", str(folder), "--trust", "--quiet"),  # trusted: its plug-ins were checked against the sweep's
        folder=folder,
        needs=needs,
        log=needs / "printed.txt",
        cpus=run.threads,
        gpus=int(str(run.recipe.device) == "cuda"),  # `cuda:1` is a choice of its own
    )


def write_job(run: Planned, home: Path) -> None:
    """Write what the job of a run reads: its resolved recipe, copies of plug-ins and files. What is the same already stays."""
    folder = home / run.id
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as fresh:
        RunFolder(Path(fresh)).write_recipe(run.recipe)
        if _text(folder / "recipe.yaml") == _text(Path(fresh, "recipe.yaml")):
            return  # a queued job may read it at this moment
        for name in ("plugins", "weights", "recipe.yaml"):  # the recipe last: a job that reads it finds the rest
            shutil.rmtree(folder / name, ignore_errors=True)
            if (new := Path(fresh, name)).exists():
                new.replace(folder / name)


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def why_it_ended(ended: Ended, log: Path) -> str:
    """Explain a failed job from what the engine says, its exit code and its last line of output."""
    if ended.why:
        return ended.why
    if ended.code < 0:
        name = signal_name(-ended.code)
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    said = log.read_text(encoding="utf-8", errors="replace").strip() if log.is_file() else ""
    if ended.code == 2:
        return said  # a user's mistake, whose message may have several lines
    return said.splitlines()[-1] if said else f"exit code {ended.code}"


def said_at_failure(folder: Path) -> str:
    """The first line of the error with which the run in ``folder`` has failed last; empty if it does not say."""
    failures = [record for record in Tail(folder / "events.jsonl", holding=b"failed").read() if record.get("event") == "failed"]
    return str(failures[-1].get("error", "")).partition("\n")[0] if failures else ""

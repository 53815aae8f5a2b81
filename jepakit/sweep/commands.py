"""A sweep as commands for any scheduler: one `jepakit run` or `resume` a line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from jepakit.protocols import Job
from jepakit.sweep.found import find_run
from jepakit.sweep.jobs import FOLDER, job_of, write_job
from jepakit.sweep.plan import Plan, rehearse_runs


def jobs_left(plan: Plan, root: Path, recorded: Sequence[Path], note: Callable[[str], None]) -> list[Job]:
    """The jobs of the runs that have not finished, with their recipes written to ``root/<name>/jobs``, where they stay.

    Args:
        plan: The runs.
        root: The folder of all runs, as for ``jepakit run``.
        recorded: Folders of records; the runs recorded there count as finished.
        note: Shows a line about a run that is left out.

    Raises:
        UserError: A configuration does not fit together, a run's folder holds something else, or nothing can be written there.
    """
    home, left = root / plan.name / FOLDER, []
    for run in plan.runs:
        folder = root / plan.name / run.id
        found, job = find_run(run, folder, recorded), job_of(run, folder, home)
        if found.state == "elsewhere":
            note(f"`{run.label}` seed {run.seed} is left out: a process is writing {folder}")
        elif found.state == "broken":
            note(f"`{run.label}` seed {run.seed} is left out: {folder} cannot be resumed ({found.why}): remove it and print again")
        elif found.state in ("new", "unfinished"):
            left.append((run, job._replace(words=job.again) if found.state == "unfinished" else job))
    rehearse_runs(run for run, _ in left)
    for run, _ in left:
        write_job(run, home)
    return [job for _, job in left]


def command_line(job: Job) -> str:
    """The job's command, quoted for a shell."""
    return shlex.join(["jepakit", *job.words])

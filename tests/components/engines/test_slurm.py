"""The engine ``slurm`` on submitit's local executor: a time limit sends a run back into the queue, and it goes on exactly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jepakit.components.engines.slurm import Slurm, SlurmJob
from jepakit.components.engines.submitted import ENDED, PLACE, read_json
from jepakit.protocols import Job
from tests.sweep import faults

submitit = pytest.importorskip("submitit")


def job_in(home: Path, name: str, *words: str) -> Job:
    needs = home / "jobs" / name
    needs.mkdir(parents=True)
    return Job(name, words, ("--version",), home / "runs" / name, needs, needs / "printed.txt", cpus=2, gpus=0)


def test_the_script_asks_slurm_for_what_the_fields_say(tmp_path: Path) -> None:
    engine = Slurm(partition="gpu", time_minutes=90, memory_gb=1.5, at_a_time=2, options={"qos": "long"}, setup=["module load cuda"])
    jobs = [job_in(tmp_path, name, "run", name) for name in ("a", "b", "c")]
    script = engine.script([*jobs[:2], jobs[2]._replace(gpus=1)])
    first, second = script.split("#!/bin/bash")[1:]
    for line in ("--array=0-1%2", "--partition=gpu", "--time=90", "--mem=1536MB", "--cpus-per-task=2", "--signal=USR2@120", "--qos=long"):
        assert f"#SBATCH {line}\n" in first
    assert "#SBATCH --requeue\n" in first
    assert "gpus" not in first
    assert "#SBATCH --gpus-per-node=1\n" in second
    assert "--array" not in second
    assert "module load cuda\n" in first
    assert not (tmp_path / "jobs" / "slurm").exists() or not list((tmp_path / "jobs" / "slurm").iterdir())
    subprocess.run(["bash", "-n"], input=first, text=True, check=True)


def test_without_slurm_it_says_how_to_try_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jepakit.errors import UserError

    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="cluster: local"):
        Slurm().begin(tmp_path, lambda text: None)


@pytest.mark.slow
def test_a_job_out_of_time_saves_requeues_and_goes_on_exactly(recipe: Path, tmp_path: Path) -> None:
    """The run gets submitit's signal, as Slurm sends it to all of a job's processes: before its time ends, and at preemption."""
    recipe.write_text(recipe.read_text().replace("total_steps: 64", "total_steps: 640"))
    job = job_in(tmp_path, "a", "run", str(recipe), "--out", str(tmp_path / "runs" / "a"), "--quiet")
    job = job._replace(again=("resume", str(job.folder), "--trust", "--quiet"))
    engine = Slurm(cluster="local", time_minutes=10, grace_seconds=5)
    engine.begin(tmp_path / "jobs", lambda text: None)
    (going,) = engine.start([job])
    assert isinstance(going, SlurmJob)
    until = time.monotonic() + 100
    while not (job.folder / "metrics.jsonl").exists():
        assert time.monotonic() < until, job.log.read_text()
        time.sleep(0.02)
    place = read_json(job.needs / PLACE)
    for pid in (place["run"], place["pid"]):
        os.kill(pid, signal.SIGUSR2)
    while not (ended := going.poll()):
        assert time.monotonic() < until, job.log.read_text()
        time.sleep(0.1)
    assert (ended.code, ended.lost) == (0, False)
    events = [json.loads(line)["event"] for line in (job.folder / "events.jsonl").read_text().splitlines()]
    assert [event for event in events if event not in ("warning", "notice", "collapsed", "recovered")] == [
        "start",
        "interrupted",
        "resume",
        "finished",
    ]
    from jepakit.training.run import run

    run(recipe, out=tmp_path / "undisturbed", quiet=True)
    assert faults.records(job.folder) == faults.records(tmp_path / "undisturbed")
    assert (job.needs / ENDED).exists()

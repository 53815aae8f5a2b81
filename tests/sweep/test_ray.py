"""Sweeps on a Ray cluster whose worker, driver and head are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep import faults


@pytest.fixture(autouse=True)
def ray_here() -> None:
    pytest.importorskip("ray")  # not at collection: every test process would import it


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "faults.yaml"
    file.write_text(faults.SWEEP)
    return file


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster of two nodes with one CPU each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    node = {"num_cpus": 1, "object_store_memory": 100 * 1024**2, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=node)
    started.add_node(num_cpus=1, object_store_memory=100 * 1024**2)
    yield started.address
    started.shutdown()


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_driver_lose_nothing_and_repeat_nothing(recipe: Path, cluster: str, tmp_path: Path) -> None:
    out, log, engine = tmp_path / "ray", tmp_path / "ray.log", f"{{kind: ray, address: '{cluster}'}}"
    driver = faults.drive(recipe, out, engine, log)
    run = faults.wait(faults.is_training(out, 2), 300, "no run has two checkpoints", log)
    pid = faults.process_of(run)
    worker = faults.parent(pid)
    assert "Worker" in Path(f"/proc/{worker}/cmdline").read_text(errors="replace")
    faults.kill(worker)
    faults.wait(lambda: "is started again: its worker on" in log.read_text(), 60, "the lost worker was not noticed", log)
    faults.wait(lambda: faults.states(out).count("finished") >= 2, 300, "two runs have not finished", log)
    run = faults.wait(faults.is_training(out), 300, "no run is training", log)
    orphan = faults.process_of(run)
    driver.kill()
    driver.wait()
    assert faults.states(out).count("finished") < 8
    again = faults.drive(recipe, out, engine, log)
    assert again.wait(600) == 0, log.read_text()
    assert not faults.is_alive(orphan)

    local = faults.drive(recipe, tmp_path / "local", "local", tmp_path / "local.log")
    assert local.wait(600) == 0
    ids = [path.parent.name for path in tmp_path.glob("local/faults/*/summary.json")]
    assert len(ids) == 8
    resumed = faults.assert_each_ran_once(out, ids)
    assert resumed >= 2, "the killed worker's run, and the driver's"
    same = [faults.records(out / "faults" / id) == faults.records(tmp_path / "local" / "faults" / id) for id in ids]
    assert same == [True] * 8
    compared = sum(len(faults.records(out / "faults" / id)) for id in ids)
    sys.stderr.write(f"8 runs finished, none twice; {resumed} resumes; {compared} records equal to --engine local\n")


@pytest.mark.slow
def test_a_killed_head_ends_the_sweep_and_the_same_command_goes_on(recipe: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "ray", tmp_path / "ray.log"
    more = ("--seeds", "1")
    driver = faults.drive(recipe, out, "ray", log, *more)
    run = faults.wait(faults.is_training(out), 300, "no run has a checkpoint", log)
    pid = faults.process_of(run)
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    (head,) = [int(line.split()[0]) for line in told.splitlines() if "gcs_server" in line and int(line.split()[1]) == driver.pid]
    os.kill(pid, signal.SIGSTOP)  # a short run would end before the sweep notices
    faults.kill(head)
    assert driver.wait(180) != 0
    os.kill(pid, signal.SIGCONT)
    assert "has not answered for 20 s" in log.read_text()
    faults.wait(lambda: not faults.is_alive(pid), 60, "an orphan trains on", log)
    assert faults.drive(recipe, out, "ray", log, *more).wait(300) == 0, log.read_text()
    assert faults.states(out) == ["finished"] * 2
    faults.assert_each_ran_once(out, [path.parent.name for path in out.glob("faults/*/summary.json")])


@pytest.mark.slow
def test_runs_come_home_from_nodes_without_the_folder(recipe: Path, cluster: str, tmp_path: Path) -> None:
    out, log = tmp_path / "ray", tmp_path / "ray.log"
    engine, more = f"{{kind: ray, address: '{cluster}', shared: false, carry_seconds: 1}}", ("--seeds", "1")
    driver = faults.drive(recipe, out, engine, log, *more)
    run = faults.wait(faults.is_training(out, 2), 300, "no checkpoint has come home", log)
    faults.kill(faults.parent(faults.process_of(run)))
    assert driver.wait(300) == 0, log.read_text()
    assert "is started again: its worker on" in log.read_text()
    assert faults.drive(recipe, tmp_path / "local", "local", tmp_path / "local.log", *more).wait(300) == 0
    ids = [path.parent.name for path in tmp_path.glob("local/faults/*/summary.json")]
    assert faults.assert_each_ran_once(out, ids) >= 1
    for id in ids:
        assert faults.records(out / "faults" / id) == faults.records(tmp_path / "local" / "faults" / id)
        assert not (out / "faults" / id / "lock").exists()

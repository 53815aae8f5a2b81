"""The simulation agrees with arithmetic where arithmetic is enough, and the page is made from its figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("simpy")

from benchmarks.scale.model import Assumed, Job, Measured, apart, on_cores, saving, together
from benchmarks.scale.page import page

DOCS = Path(__file__).parents[2] / "docs"
STEADY = Measured(
    seconds={"env": 0.001, "policy": 0.0005, "learner": 0.002, "other": 0.0005},
    variation={"env": 0.0, "learner": 0.0},
    envs=8,
    steps=10,
    epochs=4,
    minibatch=20,
    frame_bytes=2400,
    trained_bytes=1_000_000,
    checkpoint_bytes=6_000_000,
    checkpoint_files=5,
    record_bytes=7.0,
)


def test_runs_share_cores_as_arithmetic_says() -> None:
    assert on_cores(STEADY, runs=1, processes=1, cores=1) == pytest.approx(1 / 0.004)
    assert on_cores(STEADY, runs=2, processes=1, cores=2) == pytest.approx(2 / 0.004)
    assert on_cores(STEADY, runs=2, processes=1, cores=1) == pytest.approx(1 / 0.004)
    assert on_cores(STEADY, runs=1, processes=2, cores=2) == pytest.approx(1 / 0.0035)  # half of the env's time
    assert on_cores(STEADY, runs=1, processes=2, cores=1) == pytest.approx(1 / 0.004)


def test_one_run_on_many_gpus_is_linear_but_for_the_network_and_the_slowest() -> None:
    job, free = Job(envs=16, steps=10, minibatches=2), Assumed(network=1e30, hop=0.0, variation=0.0)
    alone = together(STEADY, free, job, 1)
    assert alone["frames_per_second"] == pytest.approx(160 / (10 * (0.001 + 0.00008 + 0.0005) + 8 * (0.002 + 80 * 0.000625 / 100)))
    assert together(STEADY, free, job, 100)["frames_per_second"] == pytest.approx(100 * alone["frames_per_second"])
    slow = together(STEADY, replace(free, network=1e6), job, 100)
    assert slow["share_all-reduce"] > 0.9
    uneven = together(STEADY, replace(free, variation=0.5), job, 100)
    assert uneven["frames_per_second"] < 60 * alone["frames_per_second"]
    assert (slow["learner_batch"], slow["updates"]) == (8000, pytest.approx(8 * 1e9 / 16_000))


def test_a_shared_disk_holds_runs_up_once_they_ask_for_more_than_it_has() -> None:
    job = Job(envs=16, steps=10, minibatches=2)
    rare = apart(STEADY, Assumed(), job, 50, every_steps=1e6, until=1000)
    often = apart(STEADY, Assumed(disk=1e6, streams=1), job, 50, every_steps=1e4, until=1000)
    assert rare["of_undisturbed"] > 0.9
    assert often["of_undisturbed"] < 0.05
    assert often["disk_bytes_per_second"] < 1.5e6  # the disk has 1e6, and the first ones did not wait


def test_saving_twice_as_often_or_half_as_often_as_planned_loses_more() -> None:
    plan = saving(STEADY, Assumed(), 1000)
    between, again = plan["failure_every_h"] * 3600, Assumed().restart

    def lost(every: float) -> float:
        return plan["save_s"] / every + (every / 2 + again) / between

    assert plan["lost"] == pytest.approx(lost(plan["save_every_s"]))
    assert plan["lost"] < min(lost(plan["save_every_s"] * factor) for factor in (0.5, 2.0))


def test_the_page_is_made_from_the_figures() -> None:
    found = json.loads((DOCS / "results" / "scale.json").read_text())
    assert (DOCS / "scale.md").read_text() == page(found)
    assert abs(found["check"]["two runs at once, recorded on idle cores"]["error"]) < 0.25

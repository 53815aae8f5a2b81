"""`jepakit reproduce two-rooms`, small and in this process; its baselines; what is there is not made anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from jepakit.agent.recording.episodes import record_episodes
from jepakit.components.envs.two_rooms.env import TwoRoomsEnv
from jepakit.studies.two_rooms import measure, study
from jepakit.studies.two_rooms.baselines import Steered
from jepakit.studies.two_rooms.measure import measured
from jepakit.training.run import run

SMALL: dict[str, Any] = {
    "env.max_episode_steps": 60,  # the longest way by the door takes fewer
    "encoder.layers": [[4, 16, 16]],
    "encoder.hidden": [8],
    "algorithm.rollout_steps": 16,
    "algorithm.minibatch_size": 32,
    "total_steps": 128,
    "diagnostics": [],
    "device": "cpu",
}


def test_the_shipped_recipe_learns_from_a_recording_and_its_planner_is_measured_once(tmp_path: Path, monkeypatch: Any) -> None:
    record_episodes("two_rooms", tmp_path / "data", 300, hold=5, overrides={"source": None, "env.num_envs": 5, "env.max_episode_steps": 40})
    runs = [
        run(
            "two_rooms", overrides={**SMALL, "source.folder": str(tmp_path / "data")}, seed=seed, out=tmp_path / f"run{seed}", quiet=True
        ).path
        for seed in (0, 1)
    ]
    told: list[str] = []
    monkeypatch.setattr(measure, "PATHS", 2)
    monkeypatch.setattr(study, "QUICK", {**study.QUICK, "episodes": 2})
    found = study.judge(tmp_path, tmp_path / "data", runs, True, told.append)
    assert len(told) == 2 * 6
    again = study.judge(tmp_path, tmp_path / "data", runs, True, told.append)
    assert len(told) == 2 * 6
    assert again.rows() == found.rows()
    (row,) = (row for row in found.rows() if row["policy"] == "by the door")
    assert (row["reached"], row["episodes"], row["success"]) == (4, 4, 1.0)

    written = found.write(tmp_path)
    assert {path.name for path in written} == {"two_rooms.png", "two_rooms.svg", "two_rooms.md", "two_rooms.json"}
    assert (tmp_path / "two_rooms.png").stat().st_size > 10_000
    page, content = (tmp_path / "two_rooms.md").read_text(), json.loads((tmp_path / "two_rooms.json").read_text())
    assert "QUICK" in page
    assert "published: PLDM" in page
    assert "300 recorded steps of random play" in page
    assert [row["policy"] for row in content["policies"]] == [
        "planned",
        "plain distance",
        "one step ahead",
        "random",
        "straight",
        "by the door",
    ]
    assert [one["seed"] for one in content["runs"]] == [0, 1]

    measured(runs[0], {"horizon": 2}, 2, tmp_path / "reached" / f"{runs[0].name}.json", told.append)
    assert len(told) == 3 * 6, "another planner is another measurement"


@pytest.mark.parametrize(("by_door", "layout"), [(True, "random"), (True, "fixed"), (False, "random")])
def test_baselines_reach_every_goal_by_the_door_and_few_straight(by_door: bool, layout: Any) -> None:
    env = TwoRoomsEnv(2, num_envs=20, layout=layout)
    policy = Steered(env, None, by_door=by_door)  # type: ignore[arg-type]  # it acts by the true state
    now, ended = env.reset(), torch.zeros(20, dtype=torch.bool)
    reached = ended.clone()
    for _ in range(200):
        step, now = env.step_and_maybe_reset(policy(now))
        reached |= step["next", "terminated"].flatten() & ~ended
        ended |= step["next", "done"].flatten()
    assert reached.all() if by_door else reached.sum() < 15

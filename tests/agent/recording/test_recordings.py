"""Recordings hold what was played, and read back as it was; damaged ones are refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jepakit.agent.recording.episodes import record_episodes
from jepakit.agent.recording.replayed import record_replay
from jepakit.cli.record_episodes import command
from jepakit.components.shared.recordings import read_recording
from jepakit.errors import UserError
from jepakit.protocols import Recording
from jepakit.training.run import run

DIARY = {"kind": "gym", "id": "Diary-v0", "num_envs": 3, "size": None, "max_episode_steps": 4}
SMALL: dict[str, Any] = {
    "env": DIARY,
    "encoder": {"kind": "vit", "dim": 8, "depth": 1, "heads": 2, "patch": 4},
    "threads": 1,
    "total_steps": 96,
    "device": "cpu",
}
PPO = {"algorithm": {"kind": "ppo", "rollout_steps": 16, "epochs": 1, "minibatch_size": 16}}
DQN = {"algorithm": {"kind": "dqn", "rollout_steps": 8, "learning_starts": 16, "minibatch_size": 8}, "replay": {"capacity": 60}}


def drawn(frame: Tensor) -> tuple[int, int, int]:
    """Episode, step and the action that led here, which a diary's frame shows ([C, H, W])."""
    return int(frame[0, 0, 0]), int(frame[0, 2, 0]), int(frame[0, 4, 0]) - 10


def check_against_the_diary(recording: Recording, whole: bool = True) -> None:
    """Every step of a recording is one that the diary's frames tell."""
    for step in range(len(recording.done)):
        position = int(recording.position[step])
        (episode, number, _), (after, later, action) = drawn(recording.frames[position]), drawn(recording.frames[position + 1])
        assert (after, later) == (episode, number + 1)
        assert action == int(recording.action[step])
        assert float(recording.reward[step]) == later - 0.5 * action
        assert not whole or int(recording.age[step]) == number
        terminates = later >= 2 + episode % 5
        assert bool(recording.terminated[step]) == terminates
        assert bool(recording.done[step]) >= terminates


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory, diary: None) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "random"
    made = record_episodes(SMALL, folder, 100)
    assert (made.steps, made.frames) == (102, 102 + made.episodes)  # whole steps of three envs
    return folder


def test_a_recording_holds_each_frame_once_with_the_action_that_led_to_it(random: Path) -> None:
    recording, about = read_recording(random)
    check_against_the_diary(recording)
    assert len(recording.done) == about.steps == 102
    assert len(recording.frames) == 102 + int(recording.done.sum())
    assert set(recording.action.tolist()) == {0, 1, 2}


def test_the_same_seed_records_the_same_and_another_does_not(random: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    record_episodes(SMALL, tmp_path / "again", 100)
    assert torch.equal(torch.get_rng_state(), before)
    record_episodes(SMALL, tmp_path / "other", 100, seed=5)
    frames = [(folder / "frames.bin").read_bytes() for folder in (random, tmp_path / "again", tmp_path / "other")]
    assert frames[0] == frames[1] != frames[2]


def test_a_runs_policy_plays_alone_or_mixed_with_random_episodes(tmp_path: Path) -> None:
    trained = run({**SMALL, **PPO}, out=tmp_path / "run", quiet=True).path
    actions = {}
    for share in (None, 0.5, 1.0):
        record_episodes(trained, tmp_path / str(share), 90, random=share)
        recording, about = read_recording(tmp_path / str(share))
        check_against_the_diary(recording)
        assert about.model_extra
        assert about.model_extra["random"] == (share or 0.0)
        actions[share] = recording.action.tolist()
    assert actions[None] != actions[0.5] != actions[1.0] != actions[None]
    with pytest.raises(UserError, match="a recipe has no policy"):
        record_episodes(SMALL, tmp_path / "x", 9, random=0.5)
    with pytest.raises(UserError, match="only random actions are held"):
        record_episodes(trained, tmp_path / "x", 9, hold=5)


def test_a_replay_is_written_as_far_as_its_ring_reaches(tmp_path: Path) -> None:
    trained = run({**SMALL, **DQN}, out=tmp_path / "run", quiet=True).path
    made = record_replay(trained, tmp_path / "replay")
    recording, _ = read_recording(tmp_path / "replay")
    check_against_the_diary(recording, whole=False)
    assert 45 <= made.steps <= 60
    cut = recording.age != torch.tensor([drawn(recording.frames[position])[1] for position in recording.position.tolist()])
    assert (recording.age[cut] >= 2).all(), "what is left of an episode opens with a whole stack"
    other = run({**SMALL, **PPO}, out=tmp_path / "ppo", quiet=True).path
    with pytest.raises(UserError, match="has no replay: `ppo` learns from fresh steps only"):
        record_replay(other, tmp_path / "none")


def test_the_command_says_what_it_wrote_and_the_line_that_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("cartpole_pixels", tmp_path / "out", steps=40)
    told = capsys.readouterr().out
    assert "recorded 40 env steps in " in told
    assert f"source: {{kind: recording, folder: {tmp_path / 'out'}}}" in told
    with pytest.raises(UserError, match="is not empty"):
        command("cartpole_pixels", tmp_path / "out", steps=40)
    with pytest.raises(UserError, match="--replay writes what the run has kept"):
        command("cartpole_pixels", tmp_path / "new", replay=True, seed=3)


def test_state_vectors_are_not_recorded(tmp_path: Path) -> None:
    env = {"env": {"kind": "gym_state", "id": "CartPole-v1"}, "encoder": {"kind": "mlp"}}
    with pytest.raises(UserError, match="has no frames to record"):
        record_episodes({**SMALL, **env}, tmp_path / "out", 10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["frames", "steps", "json", "missing", "pipe", "shape"])
def test_a_damaged_recording_is_refused(damage: str, random: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(random, folder)
    about = json.loads((folder / "recording.json").read_text())
    told = {
        "frames": "frames.bin is not the file that was recorded",
        "steps": "steps.safetensors is not the file that was recorded",
        "json": "recording.json: `frames`",
        "missing": "has no file steps.safetensors",
        "pipe": "has no file frames.bin",
        "shape": "does not hold",
    }[damage]
    if damage == "frames":
        with (folder / "frames.bin").open("r+b") as file:
            file.write(b"\x01")
    elif damage == "steps":
        save_file(load_file(folder / "steps.safetensors") | {"more": torch.zeros(1)}, folder / "steps.safetensors")
    elif damage == "missing":
        (folder / "steps.safetensors").unlink()
    elif damage == "pipe":
        (folder / "frames.bin").unlink()
        os.mkfifo(folder / "frames.bin")
    else:
        about |= {"frames": "many"} if damage == "json" else {"frames": about["frames"] + 1}
        (folder / "recording.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=told):
        read_recording(folder)


def test_held_actions_last_as_long_as_asked_on_average(tmp_path: Path) -> None:
    record_episodes(SMALL | {"env": {"kind": "two_rooms", "num_envs": 4}, "encoder": {"kind": "cnn"}}, tmp_path / "held", 1_200, hold=5)
    recording, about = read_recording(tmp_path / "held")
    changed = (recording.action[1:] != recording.action[:-1]).any(dim=1)[~recording.done[:-1]]
    assert changed.float().mean().item() == pytest.approx(1 / 5, abs=0.04)
    assert about.model_extra
    assert about.model_extra["hold"] == 5

"""Frames on disk: each is written once, checkpoints share them, and the ring is restored exactly."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensordict import TensorDict, TensorDictBase

from jepakit.files.writing import DiskFull
from jepakit.protocols import FrameShape
from jepakit.recipe.schema import Replay as Settings
from jepakit.training.experience import frame_log
from jepakit.training.experience.frame_log import PATTERN, FrameLog
from jepakit.training.experience.replay import Replay

ENVS, SHAPE = 2, FrameShape(3, 1, 2, 3)


@dataclass
class OffPolicy:
    n_step: int = 2
    gamma: float = 0.9
    minibatch_size: int = 6
    learning_starts: int = 0
    updates_per_step: float = 1.0


class World:
    """Endless noise with episodes of ``length`` steps, as a collector yields it; each env may have a length of its own."""

    def __init__(self, *length: int, seed: int = 0) -> None:
        self.length, self.age = torch.tensor(length).expand(ENVS)[:, None], torch.zeros(ENVS, 1)
        self.rng = torch.Generator().manual_seed(seed)
        self.stack = self.frame().expand(-1, SHAPE.frames, -1, -1, -1)

    def frame(self) -> torch.Tensor:
        return torch.randint(256, (ENVS, 1, *SHAPE[1:]), dtype=torch.uint8, generator=self.rng)

    def collect(self, steps: int) -> TensorDictBase:
        rows = []
        for _ in range(steps):
            after = torch.cat((self.stack[:, 1:], self.frame()), dim=1)
            self.age = self.age + 1
            done = self.age == self.length
            following = {"pixels": after, "reward": torch.ones(ENVS, 1), "done": done, "terminated": done}
            rows.append(TensorDict({"pixels": self.stack, "action": torch.zeros(ENVS), "next": following}, batch_size=[ENVS]))
            self.stack = after
            if done.any():
                new = self.frame().expand(-1, SHAPE.frames, -1, -1, -1)
                self.age, self.stack = self.age * ~done, torch.where(done[..., None, None, None], new, after)
        return torch.stack(rows, dim=1)


def make(capacity: int = 40, folder: Path | None = None) -> Replay:
    return Replay(OffPolicy(), 2, SHAPE, ENVS, Settings(capacity=capacity), folder=folder)  # type: ignore[arg-type]


def names(segments: list[dict[str, Any]]) -> Set[str]:
    return dict.fromkeys(segment["name"] for segment in segments).keys()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def all_frames(replay: Replay) -> list[torch.Tensor]:
    """The frames in the ring, by env."""
    oldest = (replay.end - replay.slots).clamp(min=0)
    spans = [torch.arange(begin, end) for begin, end in zip(oldest.tolist(), replay.end.tolist(), strict=True)]
    return [replay.read_frames(torch.full_like(span, env), span) for env, span in enumerate(spans)]


def assert_same(one: Replay, other: Replay) -> None:
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(all_frames(one), all_frames(other), strict=True))
    drawn = []
    for replay in (one, other):
        torch.manual_seed(3)
        drawn.append(replay.sample())
    for mine, theirs in zip(*drawn, strict=True):
        assert all(torch.equal(mine[key], theirs[key]) for key in mine.keys(include_nested=True, leaves_only=True))


@pytest.mark.parametrize("length", [2, 7, 1000])
@pytest.mark.parametrize("batches", [0, 1, 3, 9, 25])
def test_a_ring_is_restored_exactly(tmp_path: Path, length: int, batches: int) -> None:
    """Also after it has wrapped, which takes 10 batches."""
    world, replay = World(length), make()
    log = FrameLog(tmp_path / "replay", replay)
    segments = log.save()
    for number in range(batches):
        replay.extend(world.collect(2))
        if number % 3 == 0:
            segments = log.save()
    segments = log.save()
    fresh = make()
    fresh.load_state_dict(replay.state_dict())
    again = FrameLog(tmp_path / "replay", fresh)
    again.load(segments)
    if batches:
        assert_same(replay, fresh)
    for one in (world.collect(3), world.collect(40)):  # the second holds more than the ring
        replay.extend(one)
        fresh.extend(one)
        assert_same(replay, fresh)
    newest = log.save()
    assert again.save() == newest
    held = load_file(tmp_path / "replay" / newest[-1]["name"])
    assert all(len(held[str(env)]) <= replay.slots for env in range(ENVS)), "frames that have left the ring are not written"


@pytest.mark.parametrize("steps", [12, 16, 18, 20, 22, 30])
def test_a_ring_is_restored_where_one_env_wraps_between_two_checkpoints_and_another_does_not(tmp_path: Path, steps: int) -> None:
    world, replay = World(3, 1000), make()
    log = FrameLog(tmp_path, replay)
    for _ in range(4):
        replay.extend(world.collect(steps))
        segments = log.save()
        fresh = make()
        fresh.load_state_dict(replay.state_dict())
        FrameLog(tmp_path, fresh).load(segments)
        assert_same(replay, fresh)


def test_each_frame_is_written_once_and_old_files_are_removed(tmp_path: Path) -> None:
    world, replay = World(6), make()
    log = FrameLog(tmp_path, replay)
    written = 0
    for _ in range(40):
        replay.extend(world.collect(2))
        before = set(files(tmp_path)) if tmp_path.exists() else set()
        segments = log.save()
        (new,) = set(files(tmp_path)) - before
        written += sum(len(frames) for env, frames in load_file(tmp_path / new).items() if env != "begin")
        log.prune(names(segments))
        assert files(tmp_path) == sorted(names(segments))
    assert written == int(replay.end.sum())
    assert len(files(tmp_path)) <= replay.slots // 2 + 2


def test_saving_without_new_frames_writes_nothing(tmp_path: Path) -> None:
    replay = make()
    log = FrameLog(tmp_path / "replay", replay)
    assert log.save() == []
    assert not (tmp_path / "replay").exists()
    replay.extend(World(6).collect(4))
    first = log.save()
    assert log.save() == first


def test_prune_keeps_the_files_that_any_checkpoint_needs(tmp_path: Path) -> None:
    world, replay = World(6), make()
    log = FrameLog(tmp_path, replay)
    saved = []
    for _ in range(3):
        replay.extend(world.collect(2))
        saved.append(log.save())
    (tmp_path / "mine.txt").touch()
    log.prune(names(saved[0]) | names(saved[1]))
    assert files(tmp_path) == [*names(saved[1]), "mine.txt"]


def test_a_resume_removes_only_the_frames_of_an_interrupted_save(tmp_path: Path) -> None:
    world, replay = World(6), make()
    log = FrameLog(tmp_path, replay)
    replay.extend(world.collect(2))
    segments, state = log.save(), replay.state_dict()
    replay.extend(world.collect(2))
    later = log.save()
    (tmp_path / ".frames-000000000099.safetensors.partial").write_bytes(b"half")
    fresh = make()
    fresh.load_state_dict(state)
    again = FrameLog(tmp_path, fresh)
    again.load(segments)
    assert files(tmp_path) == list(names(later)), "checkpoints before or after this one may need them"
    fresh.extend(World(6).collect(4)[:, 2:])
    assert again.save() == later, "the same frames go into the same file"


def test_a_memory_mapped_ring_is_restored_to_its_checkpoint(tmp_path: Path) -> None:
    """The killed process had written more frames into the file after its checkpoint."""
    world, replay = World(6), make(folder=tmp_path)
    log = FrameLog(tmp_path, replay)
    replay.extend(world.collect(30))
    segments, state, then = log.save(), replay.state_dict(), [frames.clone() for frames in all_frames(replay)]
    replay.extend(world.collect(11))
    fresh = make(folder=tmp_path)
    fresh.load_state_dict(state)
    FrameLog(tmp_path, fresh).load(segments)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(all_frames(fresh), then, strict=True))


def test_a_full_disk_leaves_the_saved_files_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, replay = World(6), make()
    log = FrameLog(tmp_path, replay)
    replay.extend(world.collect(2))
    before = log.save()

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    replay.extend(world.collect(2))
    with monkeypatch.context() as patch:
        patch.setattr(frame_log, "save_tensors", full)
        with pytest.raises(DiskFull, match=r"a file of the replay's new frames needs 40 bytes"):  # 2 x 2 frames of 6 bytes, 2 offsets
            log.save()
    assert files(tmp_path) == list(names(before))
    assert not list(tmp_path.glob(f".{PATTERN}*"))
    assert len(log.save()) == 2

"""Extending a finished run makes a new run beside it, with everything that the old one had learned."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jepakit.agent.evaluate import evaluate
from jepakit.agent.recording.episodes import record_episodes
from jepakit.errors import UserError
from jepakit.files.writing import digest
from jepakit.recipe import load_recipe
from jepakit.storage.checkpoint import _write_manifest
from jepakit.storage.manifest import checkpoints
from jepakit.training.extend import extended
from jepakit.training.run import resume, run

SMALL = {"total_steps": 64, "env.num_envs": 2, "algorithm.rollout_steps": 16, "threads": 1, "algorithm.minibatch_size": 16}
DQN = SMALL | {"algorithm.learning_starts": 32, "replay.capacity": 256}


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("recipe", "overrides"), [("cartpole_pixels", SMALL), ("cartpole_dqn", DQN)])
def test_a_finished_run_is_extended(tmp_path: Path, recipe: str, overrides: dict[str, Any]) -> None:
    parent = run(recipe, overrides=overrides, out=tmp_path / "parent", quiet=True)
    kept = {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()}
    child = resume(parent.path, total_steps=128, quiet=True)

    assert {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()} == kept
    assert child.path == tmp_path / child.summary["id"] != parent.path
    assert (child.summary["status"], child.summary["env_steps"]) == ("finished", 128)
    assert child.summary["parent"] == load_recipe(child.path / "recipe.yaml").parent == f"{parent.summary['id']}@64"
    assert records(child.path)[: len(records(parent.path))] == records(parent.path)
    steps = [record["env_steps"] for record in records(child.path) if record["phase"] == "train"]
    assert steps == sorted(set(steps))
    assert evaluate(child.path, episodes=2)["env_steps"] == 128

    assert resume(parent.path, total_steps=128, quiet=True) == type(child)(child.path, child.summary, fresh=False)
    grandchild = resume(child.path, total_steps=160, quiet=True)
    assert grandchild.summary["parent"] == f"{child.summary['id']}@128"


def test_an_extended_run_keeps_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("cartpole_pixels", overrides=SMALL, out="runs/parent", quiet=True)
    child = resume("runs/parent", total_steps=96, quiet=True)
    assert child.path == Path("runs") / child.summary["id"]


def test_an_impossible_extension_is_refused(tmp_path: Path) -> None:
    parent = run("cartpole_pixels", overrides=SMALL, out=tmp_path / "parent", quiet=True)
    with pytest.raises(UserError, match="has already made 64 env steps; write a larger number"):
        resume(parent.path, total_steps=64)
    child = resume(parent.path, total_steps=96, quiet=True)
    with pytest.raises(UserError, match="a run from the start has no parent"):
        run(child.path / "recipe.yaml", out=tmp_path / "again", quiet=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is not a run's folder"):
        resume(tmp_path / "empty", total_steps=96)


def test_an_extension_without_its_data_leaves_nothing_behind(tmp_path: Path) -> None:
    record_episodes("cartpole_pixels", tmp_path / "data", steps=64, overrides={"env.num_envs": 2})
    source = {"source": {"kind": "recording", "folder": str(tmp_path / "data")}, "algorithm": {"kind": "none", "rollout_steps": 16}}
    few = {"total_steps": 64, "env.num_envs": 2, "threads": 1, "algorithm.minibatch_size": 16}
    parent = run("cartpole_pixels", overrides=source | few, out=tmp_path / "runs" / "parent", quiet=True)
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"data is not there"):
        resume(parent.path, total_steps=96)
    assert [*(tmp_path / "runs").iterdir()] == [parent.path]


def test_an_extended_run_is_trusted_no_more_than_its_parent(tmp_path: Path) -> None:
    """Whoever packs a folder of runs can plant a run where the extended one would go."""
    parent = run("cartpole_pixels", overrides=SMALL, out=tmp_path / "parent", quiet=True)
    child = resume(parent.path, total_steps=96, quiet=True).path
    (child / "summary.json").unlink()
    (child / "odd.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\n")
    recipe = (child / "recipe.yaml").read_text()
    (child / "recipe.yaml").write_text(recipe.replace("plugins: []", "plugins: [odd.py]"))
    with pytest.raises(UserError, match="names code to run: the plug-in"):
        resume(parent.path, total_steps=96, quiet=True)
    assert not (tmp_path / "trace").exists()


def test_extending_copies_only_the_files_of_a_checkpoint(tmp_path: Path) -> None:
    """The file names in an untrusted checkpoint lead nowhere else, and files added to it are not copied."""
    parent = run("cartpole_dqn", overrides=DQN, out=tmp_path / "runs" / "parent", quiet=True).path
    (newest,) = checkpoints(parent / "checkpoints")
    (newest / "endless").symlink_to("/dev/zero")
    (parent / "metrics.jsonl").unlink()
    child = resume(parent, total_steps=96, quiet=True).path
    assert not (child / "checkpoints" / newest.name / "endless").exists()
    assert "metrics.jsonl is" in (child / "events.jsonl").read_text()

    deep = parent / "a" / "b" / "c"
    (parent / "replay").rename(tmp_path / "held")
    shutil.copytree(tmp_path / "held", deep)
    (parent / "replay").symlink_to("a/b/c")
    (parent / "a" / "evil").write_text("evil")
    sneak = {"name": "../../evil", "bytes": 4, "sha256": digest(parent / "a" / "evil"), "end": [0, 0]}
    state = json.loads((newest / "state.json").read_text())
    (newest / "state.json").write_text(json.dumps(state | {"frames": [*state["frames"], sneak]}))
    (newest / "endless").unlink()
    (newest / "manifest.json").unlink()
    _write_manifest(newest, state)
    unusable = pytest.raises(UserError, match="has no intact checkpoint to start from")
    with pytest.warns(UserWarning, match="names as a file of frames"), unusable:
        resume(parent, total_steps=120, quiet=True)
    assert [path.parent.name for path in tmp_path.rglob("evil")] == ["a"]


def test_another_process_may_extend_the_same_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = run("cartpole_pixels", overrides=SMALL, out=tmp_path / "parent", quiet=True).path
    copy, made = shutil.copyfile, list[Path]()

    def copied(*args: Any) -> None:
        if not made:
            made.append(parent)
            made.append(extended(parent, 96, False, print))  # another process begins later and is faster
        copy(*args)

    monkeypatch.setattr(shutil, "copyfile", copied)
    assert extended(parent, 96, False, print) == made[1]
    assert sorted(tmp_path.iterdir()) == sorted(made)
    assert resume(made[1], quiet=True).summary["env_steps"] == 96


def test_a_full_disk_leaves_no_partial_extended_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = run("cartpole_pixels", overrides=SMALL, out=tmp_path / "parent", quiet=True).path

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(UserError, match=r"no room left in .*: a copy of the run needs [\d.]+ [kM]B"):
        resume(parent, total_steps=96, quiet=True)
    assert list(tmp_path.iterdir()) == [parent]

"""A killed run resumes as if uninterrupted, or an error says why it cannot."""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.resume import differences, run_killed, run_whole
from jepakit.agent.evaluate import evaluate
from jepakit.cli.app import main
from jepakit.errors import UserError
from jepakit.files.writing import DiskFull
from jepakit.recipe import load_recipe, recipe_id
from jepakit.storage import checkpoint, lock
from jepakit.storage.folder import RunFolder
from jepakit.storage.manifest import checkpoints, named_frames, verify
from jepakit.storage.provenance import differences as changes
from jepakit.training.loop import Loop
from jepakit.training.run import resume, run
from tests.forked import jepakit_process, server

SMALL = """
name: small
total_steps: 720
env: {kind: gym, id: CartPole-v1, num_envs: 2, size: [16, 24]}
encoder: {kind: vit, dim: 8, depth: 1, heads: 2, patch: 8}
algorithm: {kind: ppo, rollout_steps: 20, epochs: 1, minibatch_size: 20}
checkpoint_every: 120
device: cpu
precision: fp32
threads: 1
"""
#: Recipes whose parts have state or draw random numbers: schedules, running statistics, prioritised replay that wraps, noisy layers.
RECIPES = {
    "ppo": [
        "regularizers=[{kind: sigreg, weight: 0.1}]",
        "augmentations=[{kind: random_shift, pad: 1}]",
        "encoder.scaling=normalized",
        "optimizer.warmup_updates=30",
    ],
    "dqn": [
        "algorithm={kind: dqn, rollout_steps: 20, minibatch_size: 8, learning_starts: 100, updates_per_step: 0.1, target_every: 3, "
        "noisy_std: 0.5}",
        "replay={capacity: 150, sampler: prioritized}",
        "optimizer.lr_schedule=cosine",
    ],
}


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def records(folder: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in records(folder, "events.jsonl") if record["event"] == kind]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Calls ``jepakit`` in this process and returns the exit code, stdout and stderr."""

    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jepakit", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return call


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name == "ppo" else name for name in RECIPES])
def test_a_run_killed_repeatedly_ends_like_an_uninterrupted_one(recipe: Path, tmp_path: Path, name: str) -> None:
    context, whole, killed = server(), tmp_path / "whole", tmp_path / "killed"
    run_whole(context, recipe, RECIPES[name], whole)
    size = (whole / "metrics.jsonl").stat().st_size
    kills = run_killed(context, recipe, RECIPES[name], killed, size, kills=2, rng=random.Random(os.urandom(8)))
    assert differences(whole, killed) == [], kills
    assert events(killed, "resume")  # fewer than kills if a process was killed before it wrote this event
    assert [record["event"] for record in records(killed, "events.jsonl")][-1] == "finished"
    ends = [json.loads((folder / "summary.json").read_text()) for folder in (whole, killed)]
    for end in ends:
        budget = end.pop("seconds")
        assert {"env", "policy", "learner", "checkpoint", "other"} <= budget.keys()
        assert sum(budget.values()) == pytest.approx(end.pop("wall_s"), abs=0.1)
        assert end.pop("steps_per_second") > 0
    assert ends[0] == ends[1]
    assert not list(killed.rglob("*.partial"))
    assert not (killed / "lock").exists()


#: SAC with several views, a delayed actor, delayed targets and a learning rate for each part.
DELAYED = (
    "algorithm={kind: sac, rollout_steps: 20, minibatch_size: 8, learning_starts: 100, updates_per_step: 0.1, hidden: [8], "
    "views: 2, next_views: 2, actor_every: 3, target_every: 2, target_encoder_decay: 0.9}",
    "augmentations=[{kind: random_shift, pad: 1}]",
    "jepa.y=same",
    "optimizer.lr_factors={encoder: 0.5, algorithm.log_alpha: 0.1}",
)


class Killed(BaseException):
    """Stands for a kill of the process: no code handles it."""


@pytest.fixture(scope="module")
def cut_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "small.yaml").write_text(SMALL)
    cut_off(folder / "small.yaml", folder / "run", at=400)
    return folder / "run"


@pytest.fixture
def cut(cut_once: Path, tmp_path: Path) -> Path:
    """A run cut off after 400 of its 720 env steps, with checkpoints at 240 and 360."""
    return shutil.copytree(cut_once, tmp_path / "run")


def cut_off(recipe: Path, folder: Path, at: int, overrides: tuple[str, ...] = ()) -> None:
    with pytest.MonkeyPatch.context() as patch:
        write = Loop._record_batch

        def record(self: Loop, *args: Any) -> None:
            write(self, *args)
            if self.history.env_steps >= at:
                raise Killed

        patch.setattr(Loop, "_record_batch", record)
        with pytest.raises(Killed):
            run(recipe, overrides=overrides, out=folder, quiet=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same run, uninterrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.yaml").write_text(SMALL)
    return run(folder / "small.yaml", out=folder / "run", quiet=True).path


def test_a_delayed_actor_keeps_its_schedule_across_a_resume(recipe: Path, tmp_path: Path) -> None:
    overrides = (*DELAYED, "total_steps=480")
    run(recipe, overrides=overrides, out=tmp_path / "whole", quiet=True)
    cut_off(recipe, tmp_path / "cut", at=400, overrides=overrides)
    resume(tmp_path / "cut", quiet=True)
    assert events(tmp_path / "cut", "resume")[0]["env_steps"] == 360
    updates = [record["updates"] for record in records(tmp_path / "cut") if record["env_steps"] == 360]
    assert updates[0] % 3 != 0  # the checkpoint lies between updates of the actor
    assert updates[0] % 2 == 0
    assert differences(tmp_path / "whole", tmp_path / "cut") == []


def test_the_command_resumes_once_and_then_reports_a_finished_run(cut: Path, whole: Path, cli: Cli) -> None:
    done = jepakit_process("resume", str(cut), cwd=cut.parent)
    assert done.code == 0, done.err
    assert "resuming at 360 env steps" in done.err
    assert done.out.startswith(f"run {cut}\nfinished: 720 env steps")
    assert differences(whole, cut) == []
    (event,) = events(cut, "resume")
    assert (event["checkpoint"], event["host"]) == ("000000000360", platform.node())

    before = sorted((path, path.stat().st_mtime_ns) for path in cut.rglob("*"))
    code, out, err = cli("resume", cut)
    assert (code, err) == (0, "")
    assert out.startswith(f"already finished: {cut}\nfinished: 720 env steps")
    assert sorted((path, path.stat().st_mtime_ns) for path in cut.rglob("*")) == before


def test_a_run_killed_before_its_first_checkpoint_starts_again(recipe: Path, tmp_path: Path, whole: Path) -> None:
    cut_off(recipe, tmp_path / "run", at=80)
    assert not checkpoints(tmp_path / "run" / "checkpoints")
    assert resume(tmp_path / "run", quiet=True).summary["status"] == "finished"
    assert differences(whole, tmp_path / "run") == []
    assert events(tmp_path / "run", "resume")[0]["checkpoint"] is None


@pytest.mark.parametrize("both", [False, True])
def test_a_corrupt_checkpoint_warns_and_the_previous_one_is_used(
    cut: Path, whole: Path, both: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newest = checkpoints(cut / "checkpoints")[-2:]
    (newest / "state.safetensors").write_bytes((newest / "state.safetensors").read_bytes()[:100])
    if both:
        for path in checkpoints(cut / "checkpoints"):
            (path / "weights.safetensors").unlink()
    resume(cut, quiet=True)
    assert differences(whole, cut) == []
    err = capsys.readouterr().err
    assert f"warning: {newest} is corrupt" in err
    assert events(cut, "warning")[0]["text"] in err
    assert events(cut, "resume")[0]["checkpoint"] == (None if both else older.name)


def test_a_resume_that_is_stopped_at_once_keeps_all_earlier_checkpoints(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It also keeps the frames that only an earlier checkpoint needs."""
    folder = tmp_path / "run"
    cut_off(recipe, folder, at=640, overrides=tuple(RECIPES["dqn"]))
    older, newest = checkpoints(folder / "checkpoints")[-2:]
    assert named_frames(older) - named_frames(newest)

    def stopped(loop: Loop) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "run", stopped)
        resume(folder, quiet=True)
    (newest / "weights.safetensors").write_bytes(b"damaged")
    assert named_frames(newest)
    (newest / "state.json").write_text('{"frames": [')
    assert named_frames(newest) == set()
    resume(folder, quiet=True)
    assert [event["checkpoint"] for event in events(folder, "resume")] == [newest.name, older.name]


@pytest.mark.parametrize("when", ["at its end", "asked to stop"])
def test_a_run_that_a_collapse_has_ended_does_not_train_on(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    stops = ["collapse_threshold=1e9", "on_collapse=stop"]  # everything counts as collapsed
    whole = run(recipe, overrides=stops, out=tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch:
        if when == "at its end":
            patch.setattr("jepakit.training.run.summarise", lambda *_: (_ for _ in ()).throw(KeyError))
            with pytest.raises(KeyError):
                run(recipe, overrides=stops, out=tmp_path / "cut", quiet=True)
        else:
            patch.setattr(
                Loop, "_watch", lambda loop, *given, watch=Loop._watch: (watch(loop, *given), os.kill(os.getpid(), signal.SIGINT))
            )
            assert run(recipe, overrides=stops, out=tmp_path / "cut", quiet=True).summary["status"] == "interrupted"
    resumed = resume(tmp_path / "cut", quiet=True)
    assert resumed.summary["status"] == whole.summary["status"] == "stopped"
    assert differences(whole.path, resumed.path) == []


def test_a_run_that_can_be_resumed_has_its_provenance(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path) -> None:
    """Whenever it is killed at its start, it has both its recipe and its provenance, or no recipe."""
    write = RunFolder.write_recipe

    def killed(folder: RunFolder, recipe: Any) -> None:
        write(folder, recipe)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_recipe", killed)
        run(recipe, out=tmp_path / "cut", quiet=True)
    assert resume(tmp_path / "cut", quiet=True).summary["status"] == "finished"
    assert differences(whole, tmp_path / "cut") == []
    assert (tmp_path / "cut" / "provenance.json").exists()


def test_an_edited_recipe_warns(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = cut / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("lr: 0.001", "lr: 0.002"))
    resume(cut, quiet=True)
    assert "recipe.yaml was edited since the run began" in capsys.readouterr().err
    assert "edited" in events(cut, "warning")[0]["text"]


def test_a_run_of_a_version_whose_id_covered_less_code_accuses_nobody() -> None:
    now = {"id": "b", "sources": ["plugin", "helper"], "data": {}, "packages": {}}
    told = {str(began): list(changes({"id": "a", "sources": began}, now, {})) for began in (["plugin"], ["plugin", "helper"], "odd")}
    assert [text.split(" (a then, b now)")[0] for (text,) in told.values()] == [
        "the id covers more code than when the run began",
        *["recipe.yaml was edited since the run began"] * 2,
    ]


def test_leftovers_of_an_interrupted_write_do_no_harm(cut: Path, whole: Path) -> None:
    partial = cut / "checkpoints" / ".000000000480.partial"
    partial.mkdir()
    (partial / "weights.safetensors").write_bytes(b"half")
    for name in ("metrics.jsonl", "events.jsonl"):
        with (cut / name).open("a") as file:
            file.write('{"event": "half a li')
    resume(cut, quiet=True)
    assert differences(whole, cut) == []
    assert events(cut, "resume")
    assert not partial.exists()


def test_a_failed_run_can_be_resumed(recipe: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Loop._record_batch

    def burn(self: Loop, *args: Any) -> None:
        write(self, *args)
        if self.history.env_steps == 400:
            raise RuntimeError("the machine is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_record_batch", burn)
        with pytest.raises(RuntimeError, match="on fire"):
            run(recipe, out=tmp_path / "run", quiet=True)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
    (tmp_path / "run" / ".summary.json.1234abcd.partial").touch()  # of a process killed while it wrote
    resume(tmp_path / "run", quiet=True)
    assert differences(whole, tmp_path / "run") == []
    assert not (tmp_path / "run" / "traceback.txt").exists()
    assert not list((tmp_path / "run").glob(".*"))


def test_a_checkpoint_of_another_format_or_recipe_is_refused_and_nothing_changes(cut: Path) -> None:
    newest = checkpoints(cut / "checkpoints")[-1]
    (cut / "summary.json").write_text('{"status": "interrupted"}')
    (newest / "counters.json").write_text("{}")
    before = sorted(cut.rglob("*"))
    with pytest.raises(UserError, match="older jepakit"):
        resume(cut, quiet=True)
    (newest / "counters.json").unlink()
    recipe = (cut / "recipe.yaml").read_text()
    (cut / "recipe.yaml").write_text(recipe.replace("dim: 8", "dim: 16"))
    with pytest.raises(UserError, match="does not fit the recipe's components"):
        resume(cut, quiet=True)
    (newest / "counters.json").write_text("{}")
    assert sorted(cut.rglob("*")) == before


def test_a_run_that_is_being_written_is_not_resumed(cut: Path, cli: Cli) -> None:
    held = lock.Lock(cut)
    assert cli("resume", cut) == (2, "", f"process {os.getpid()} on {platform.node()} is writing {cut}: wait for it\n")
    held.release()


def test_resume_does_not_write_through_links(cut: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    for name in ("metrics.jsonl", "lock"):
        (cut / name).unlink(missing_ok=True)
        (cut / name).symlink_to(tmp_path / "precious")
        with pytest.raises(UserError, match=f"{name} is not a regular file"):
            resume(cut, quiet=True)
        (cut / name).unlink()
        assert (tmp_path / "precious").read_text() == "mine"
    (cut / "summary.json").mkdir()
    with pytest.raises(UserError, match=r"summary\.json is not a regular file"):
        resume(cut, quiet=True)
    (cut / "summary.json").rmdir()
    (tmp_path / "others").mkdir()
    for name in ("replay", "replay/frames.bin", "checkpoints/000000000360/state.json", "checkpoints"):
        path = cut / name
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / ("precious" if path.suffix else "others"))
        with pytest.raises(UserError, match=f"{name} is a link"):
            resume(cut, quiet=True)
        path.unlink()
        if (tmp_path / "moved").exists():
            (tmp_path / "moved").rename(path)
    assert (tmp_path / "precious").read_text() == "mine"


PLUGIN = """
import os, gymnasium, numpy as np
open({trace!r}, "a").write("ran")
from gymnasium.envs.classic_control import CartPoleEnv
from jepakit import register
from jepakit.components.envs.gym import GymEnv
from torchrl.envs import EnvBase

class Drunk(CartPoleEnv):
    def step(self, action):
        self.state = tuple(np.array(self.state) + np.random.default_rng().normal(size=4) / 1000)
        return super().step(action)

if "Drunk-v0" not in gymnasium.registry:
    gymnasium.register("Drunk-v0", Drunk, max_episode_steps=200)

@register("env", "forgetful")
class Forgetful(EnvBase):  # offers no snapshot
    def __init__(self, seed):
        inner = GymEnv(seed, id="CartPole-v1", num_envs=2, size=(16, 24))
        super().__init__(batch_size=inner.batch_size, device="cpu")
        self.__dict__["inner"] = inner
        for spec in ("observation_spec", "action_spec", "reward_spec", "done_spec"):
            setattr(self, spec, getattr(inner, spec).clone())
        self.frame_shape, self.single_action_spec = inner.frame_shape, inner.single_action_spec
        self._set_seed, self._reset, self._step = inner._set_seed, inner._reset, inner._step
    seconds = property(lambda self: self.inner.seconds)
    def _set_seed(self, seed): ...
    def _reset(self, now=None): ...
    def _step(self, now): ...
"""
DRUNK = "{kind: gym, id: Drunk-v0, num_envs: 2, size: [16, 24]}"


@pytest.mark.filterwarnings("ignore:.*already returned terminated")  # replayed actions move a Drunk-v0 differently, so it may fall earlier
@pytest.mark.parametrize(("env", "algorithm"), [(DRUNK, "dqn"), ("{kind: forgetful}", "ppo")])
def test_simulators_that_cannot_be_restored_begin_new_episodes(recipe: Path, tmp_path: Path, env: str, algorithm: str) -> None:
    (tmp_path / "odd.py").write_text(PLUGIN.format(trace=str(tmp_path / "trace")))
    more = (f"plugins=[{tmp_path / 'odd.py'}]", f"env={env}", *(RECIPES["dqn"] if algorithm == "dqn" else ()))
    cut_off(recipe, tmp_path / "run", at=400, overrides=more)
    (notice,) = [event["text"] for event in events(tmp_path / "run", "notice") if "exactly" in event["text"]]
    assert notice == "this env's simulators cannot be restored exactly: a resumed run begins new episodes"
    assert resume(tmp_path / "run", trust=True, quiet=True).summary["env_steps"] == 720
    after = [event["text"] for event in events(tmp_path / "run", "notice")]
    assert after[-1] == "this env's simulators cannot be restored exactly: new episodes begin"
    assert events(tmp_path / "run", "resume")[0]["checkpoint"] == "000000000360"
    steps = [record["env_steps"] for record in records(tmp_path / "run") if record["phase"] == "train"]
    assert steps == list(range(40, 721, 40))


def test_an_untrusted_run_folder_runs_no_code(recipe: Path, tmp_path: Path, cli: Cli) -> None:
    """This holds for plug-ins that its recipe names, and for those of a recipe that it extends."""
    trace = tmp_path / "trace"
    (tmp_path / "odd.py").write_text(PLUGIN.format(trace=str(trace)))
    folder = tmp_path / "runs" / "theirs"
    cut_off(recipe, folder, at=400, overrides=(f"plugins=[{tmp_path / 'odd.py'}]",))
    finished = tmp_path / "runs" / "finished"
    shutil.copytree(folder, finished)
    summary = {
        "status": "finished",
        "env_steps": 720,
        "return_last_100": 1.0,
        "return_auc": 1.0,
        "embedding_variance": 1.0,
        "embedding_rank": 1.0,
    }
    (finished / "summary.json").write_text(json.dumps(summary | {"collapsed": False}))
    sneaky = tmp_path / "runs" / "sneaky"
    shutil.copytree(folder, sneaky)
    (sneaky / "base.yaml").write_text((sneaky / "recipe.yaml").read_text())
    (sneaky / "recipe.yaml").write_text("extends: ./base.yaml\n")
    trace.unlink()

    for verb in ("eval", "resume"):
        for theirs in (folder, sneaky):
            code, _, err = cli(verb, theirs)
            assert code == 2
            assert "names code to run: the plug-in" in err
            assert "--trust" in err
    for words in (["compare", finished], ["record", finished, "--to", tmp_path / "records"], ["runs", tmp_path / "runs"]):
        code, out, err = cli(*words)
        assert code == 0, err
        assert out
    assert not trace.exists()
    assert len(evaluate(folder, episodes=1, trust=True)["greedy"]["returns"]) == 1
    assert trace.exists()


def test_a_full_disk_loses_nothing_and_reports_the_space_needed(recipe: Path, tmp_path: Path, whole: Path, cli: Cli) -> None:
    size = sum(file.stat().st_size for file in (whole / "checkpoints" / "000000000720").iterdir())
    with small_disk(tmp_path / "disk", int(2.5 * size)) as disk:
        code, _, err = cli("run", recipe, "--out", disk / "run", "--quiet")
        assert code == 1
        failed, advice, *rest = err.splitlines()
        assert failed.startswith(f"failed: DiskFull: no room left in {disk / 'run'}")
        assert " needs " in failed
        assert failed.endswith(" are free")
        assert advice == f"earlier checkpoints are intact; once there is room, resume with: jepakit resume {disk / 'run'}"
        assert not [line for line in rest if "traceback:" not in line]
        kept = checkpoints(disk / "run" / "checkpoints")
        assert kept
        for path in kept:
            verify(path)
        assert not list(disk.rglob("*.partial"))
        shutil.copytree(disk / "run", tmp_path / "roomy")
    resume(tmp_path / "roomy", quiet=True)
    assert differences(whole, tmp_path / "roomy") == []


class small_disk:
    """A file system of ``size`` bytes. It skips the test if mounting is not allowed."""

    def __init__(self, at: Path, size: int) -> None:
        self.at, self.size = at, size

    def __enter__(self) -> Path:
        self.at.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", str(self.at)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a small tmpfs is not allowed here")
        return self.at

    def __exit__(self, *exc: object) -> None:
        subprocess.run(["umount", "-l", str(self.at)], check=True)


def test_a_simulated_full_disk_loses_nothing(recipe: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tensors = checkpoint.save_tensors

    def full(tensors: Any, path: Path) -> None:
        if path.parent.name == ".000000000480.partial":
            raise OSError(28, "No space left on device")
        save_tensors(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_tensors", full)
        with pytest.raises(DiskFull, match=r"the checkpoint of 480 env steps needs [\d.]+ kB") as failed:
            run(recipe, out=tmp_path / "run", quiet=True)
    assert "resume with: jepakit resume" in failed.value.__notes__[0]
    last = (tmp_path / "run" / "traceback.txt").read_text().splitlines()[-1]
    assert "the checkpoint of 480 env steps needs" in last, "a sweep shows this line"
    resume(tmp_path / "run", quiet=True)
    assert differences(whole, tmp_path / "run") == []


def test_a_run_whose_folder_is_removed_fails_and_makes_no_other(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Loop._record_batch

    def purged(loop: Loop, *given: Any) -> None:
        record(loop, *given)
        if loop.history.env_steps == 480:
            shutil.rmtree(loop.folder.path)

    monkeypatch.setattr(Loop, "_record_batch", purged)
    with pytest.raises(OSError, match="was removed or moved"):
        run(recipe, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_resumed_runs_display_counts_from_its_checkpoint(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.perf_counter()
    resume(cut)
    seconds = time.perf_counter() - started
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("steps ")]
    assert lines[0].startswith("steps 400/720  done 56%")
    rate = float(lines[0].split("  steps/s ")[1].split()[0].replace(",", ""))
    assert rate < 40 / 0.001
    minutes, left = lines[0].split("ETA ")[1].split()[0].split(":")
    assert int(minutes) * 60 + int(left) <= 8 * seconds


def test_a_run_folder_without_a_recipe_is_refused_clearly(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    folder = Path("runs/small") / recipe_id(load_recipe(recipe))
    folder.mkdir(parents=True)
    (folder / "events.jsonl").touch()  # and killed then
    with pytest.raises(UserError, match="killed before its first step; remove the folder and run it again"):
        resume(folder)
    with pytest.raises(UserError, match="holds no run: remove it"):
        run(recipe, quiet=True)

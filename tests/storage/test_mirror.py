"""Sinks follow a run that is being written, and cannot disturb it."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from jepakit import MirroredRun, UserError, registry, resume, run
from jepakit.recipe import load_recipe, recipe_id
from jepakit.recipe.errors import RecipeError
from jepakit.storage import mirror
from jepakit.storage.lock import Lock
from jepakit.storage.mirror import Mirrors, export_logs
from jepakit.training.loop import Loop
from tests.components.sinks.conftest import KINDS, elsewhere, fields, same, shown, timeless, written
from tests.components.sinks.conftest import run as finished_run

__all__ = ["elsewhere", "finished_run"]  # fixtures

SMALL = {
    "name": "small",
    "total_steps": 240,
    "env": {"kind": "gym", "id": "CartPole-v1", "num_envs": 2, "size": [16, 24]},
    "encoder": {"kind": "vit", "dim": 8, "depth": 1, "heads": 2, "patch": 8},
    "algorithm": {"kind": "ppo", "rollout_steps": 20, "epochs": 1, "minibatch_size": 20},
    "checkpoint_every": 80,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
}
AVAILABLE = [kind for kind in KINDS if not registry.component("sink", kind).missing]


class Bad:
    """A sink whose method ``metrics`` does what a test says."""

    act: Callable[[int], object] = staticmethod(lambda env_steps: None)

    def __init__(self, folder: Path) -> None:
        self.taken = 0

    def begin(self, run: MirroredRun) -> int:
        return 0

    def metrics(self, record: Mapping[str, float], env_steps: int, time: float) -> None:
        self.taken += 1
        Bad.act(env_steps)

    def event(self, record: Mapping[str, Any]) -> None: ...

    def flush(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def end(self, summary: Mapping[str, Any] | None) -> None: ...


@pytest.fixture(autouse=True)
def bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "INTERVAL", 0.1)
    monkeypatch.setattr(registry.table, "_table", dict(registry.table._table))
    registry.register("sink", "bad")(Bad)


def numbers(folder: Path) -> list[dict[str, Any]]:
    """`metrics.jsonl` without times."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "wall_s" and not name.startswith("time/")} for line in lines]


def generators(folder: Path) -> Any:
    return [json.loads(file.read_text())["generators"] for file in sorted((folder / "checkpoints").glob("*/state.json"))]


def _die_at_200(folder: Path) -> None:
    """Train until env steps 200; wait until the sinks have taken them; die as by kill -9."""
    mirror.INTERVAL = 0.2
    record_batch = Loop._record_batch

    def recording(loop: Loop, metrics: dict[str, Any], times: dict[str, float]) -> None:
        record_batch(loop, metrics, times)
        if loop.history.env_steps >= 200:
            notes = [folder / "sinks" / f"{kind}.json" for kind in AVAILABLE]
            while not all(note.exists() and json.loads(note.read_text())["env_steps"] >= 200 for note in notes):
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)

    Loop._record_batch = recording  # type: ignore[method-assign]
    run({**SMALL, "sinks": [{"kind": kind} for kind in AVAILABLE]}, out=folder, quiet=True)


@pytest.mark.slow
def test_a_killed_run_with_all_sinks_is_as_one_without_and_each_tool_shows_it_as_one_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training repeats the steps from its checkpoint at 160 to 200, which the sinks hold; W&B holds none, killed before it wrote."""
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # of this process, which the child's run would outlive
    plain = run(SMALL, out=tmp_path / "plain", quiet=True).path
    child = multiprocessing.get_context("spawn").Process(target=_die_at_200, args=[tmp_path / "run"])
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    state = {kind: json.loads((tmp_path / "run" / "sinks" / f"{kind}.json").read_text())["state"] for kind in AVAILABLE}
    resumed = resume(tmp_path / "run", quiet=True)
    assert numbers(resumed.path) == numbers(plain)
    assert generators(resumed.path)[-1] == generators(plain)[-1]
    for kind in AVAILABLE:
        assert same(kind, timeless(shown(kind, resumed.path)), timeless(written(resumed.path))), kind
        assert json.loads((resumed.path / "sinks" / f"{kind}.json").read_text())["state"] == state[kind]  # the same run of the tool


def test_a_sink_that_raises_warns_once_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(env_steps: int) -> None:
        raise OSError("the disk of the tool\nis full")

    monkeypatch.setattr(Bad, "act", staticmethod(act))
    recipe = load_recipe({**SMALL, "sinks": [{"kind": "bad"}, {"kind": "csv"}]})
    ended = run(recipe, out=tmp_path / "run", quiet=True)
    assert ended.summary["status"] == "finished"
    (warning,) = capsys.readouterr().err.splitlines()
    assert re.search(r"^warning: the sink `bad` has failed .*is full.*jepakit export-logs \S+run --to bad", warning)
    assert same("csv", shown("csv", ended.path), written(ended.path))


def test_a_slow_sink_does_not_hold_up_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bad, "act", staticmethod(lambda env_steps: time.sleep(5)))
    monkeypatch.setattr(mirror, "PATIENCE", 0.2)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("name: small\n")
    warnings: list[str] = []
    mirrors = Mirrors([fields("bad")], tmp_path / "run", warnings.append)
    started = time.monotonic()
    mirrors.start()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"phase": "train", "env_steps": 1, "wall_s": 0}\n' * 100)
    time.sleep(0.2)
    mirrors.close()
    assert time.monotonic() - started < 2
    assert [text.partition(";")[0] for text in warnings] == ["the sink `bad` lags behind and was left"]
    assert mirrors.mirrors[0].abandoned


def test_an_export_shows_what_a_live_sink_shows(tmp_path: Path) -> None:
    live = run({**SMALL, "sinks": [{"kind": "csv"}]}, out=tmp_path / "live", quiet=True).path
    before = shown("csv", live)
    (live / "sinks").rename(tmp_path / "sinks")
    export_logs(live, [fields("csv")])
    assert shown("csv", live) == before == written(live)


def test_a_record_that_is_being_written_waits(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    tail = mirror.Tail(path)
    assert list(tail.read()) == []
    path.write_text('{"a": 1}\n{"a"')
    assert list(tail.read()) == [{"a": 1}]
    with path.open("a") as file:
        file.write(": 2}\n")
    assert list(tail.read()) == [{"a": 2}]


def test_a_verdict_that_a_resumed_run_repeats_comes_once(finished_run: Path) -> None:
    with (finished_run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": "collapsed", "env_steps": 100, "variance": 2.0}) + "\n")
        file.write(json.dumps({"event": "recovered", "env_steps": 150, "variance": 3.0}) + "\n")
    export_logs(finished_run, [fields("csv")])
    texts = finished_run / "sinks" / "csv" / "texts"
    assert {file.name for file in texts.iterdir()} == {"recipe.json", "collapsed_100.json", "recovered_150.json"}
    assert json.loads((texts / "collapsed_100.json").read_text())["variance"] == 1e-9


def test_sinks_are_no_part_of_a_runs_id() -> None:
    plain, mirrored = (load_recipe({**SMALL, "sinks": sinks}) for sinks in ([], [{"kind": "csv"}, {"kind": "bad"}]))
    assert recipe_id(plain) == recipe_id(mirrored)  # `bad` is defined outside jepakit, whose source other components put into the id


def test_a_sink_whose_package_is_missing_is_an_error_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bad, "requires", {"no_such_module": "pip install nothing"}, raising=False)
    with pytest.raises(RecipeError, match="`bad` needs a module that is not installed: pip install nothing"):
        run({**SMALL, "sinks": [{"kind": "bad"}]}, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_two_sinks_of_one_kind_are_refused() -> None:
    with pytest.raises(RecipeError, match="already has one of this kind"):
        load_recipe({**SMALL, "sinks": [{"kind": "csv"}, {"kind": "csv"}]})


def test_a_folder_that_leads_elsewhere_is_refused(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (finished_run / "sinks").mkdir()
    (finished_run / "sinks" / "csv").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"):
        export_logs(finished_run, [fields("csv")])
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_run_that_is_being_written_is_not_exported(finished_run: Path) -> None:
    lock = Lock(finished_run)
    with pytest.raises(UserError, match="is writing"):
        export_logs(finished_run, [fields("csv")])
    lock.release()


def test_a_mistake_before_the_first_step_is_shown_and_not_the_sinks(tmp_path: Path) -> None:
    begun = run({**SMALL, "sinks": [{"kind": "csv"}]}, out=tmp_path / "run", quiet=True).path
    (begun / "summary.json").unlink()
    written = (begun / "recipe.yaml").read_text()
    (begun / "recipe.yaml").write_text(written.replace("dim: 8", "dim: 16"))
    with pytest.raises(UserError, match="does not fit the recipe's components"):
        resume(begun, quiet=True)

"""A run in a folder of its own place: its files travel there and back."""

from __future__ import annotations

import json
from pathlib import Path

from jepakit.components.engines.worker import News, Worker, read_files, write_home
from jepakit.protocols import Job


def job_in(home: Path, again: bool = False) -> Job:
    needs, folder = home / "jobs" / "a", home / "runs" / "a"
    for path, text in (("checkpoints/1/x", "1"), ("metrics.jsonl", "one\n"), ("lock", "mine"), ("recipe.yaml", "r")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    needs.mkdir(parents=True)
    (needs / "recipe.yaml").write_text("name: a\n")
    words = ("resume", str(folder), "--trust")
    return Job("a", words if again else ("run", str(needs / "recipe.yaml")), words, folder, needs, needs / "printed.txt", 1, 0)


def test_only_a_run_that_goes_on_takes_its_files_along(tmp_path: Path) -> None:
    assert set(read_files(job_in(tmp_path / "new"))) == {"needs/recipe.yaml"}
    found = list(read_files(job_in(tmp_path / "again", again=True)))
    assert set(found) == {"needs/recipe.yaml", "run/recipe.yaml", "run/checkpoints/1/x", "run/metrics.jsonl"}
    assert found.index("run/checkpoints/1/x") < found.index("run/metrics.jsonl"), "no checkpoint is newer than the records"


def test_what_comes_home_replaces_what_was_there_and_leaves_the_lock(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    files = {"run/checkpoints/2/y": b"2", "run/metrics.jsonl": b"one\ntwo\n", "needs/printed.txt": b"said"}
    kept = ("run/recipe.yaml", "run/checkpoints/2/y", "run/metrics.jsonl", "needs/printed.txt")
    write_home(job, News(None, files, dict.fromkeys(kept, (1, 1))))
    there = sorted(str(path.relative_to(job.folder)) for path in job.folder.rglob("*") if path.is_file())
    assert there == ["checkpoints/2/y", "lock", "metrics.jsonl", "recipe.yaml"]
    assert not (job.folder / "checkpoints" / "1").exists()
    assert job.log.read_text() == "said"


def test_a_worker_looks_again_only_at_what_has_changed(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    worker = Worker(job._replace(words=("show", str(job.needs / "nothing.yaml"))), read_files(job))
    assert worker.temporary
    worker.process.wait()
    (worker.places["run"] / "sub").mkdir(parents=True)
    (worker.places["run"] / "sub" / "x").write_text("1")
    first = worker.look({}, carry=False)
    assert first.code == 2
    assert set(first.files) == {"run/sub/x", "needs/printed.txt"}
    assert str(worker.places["needs"]) in first.files["needs/printed.txt"].decode(), "the words name the places here"
    (worker.places["run"] / "sub" / "x").write_text("12")
    assert set(worker.look(first.stamps, carry=True).files) == {"run/sub/x"}
    assert json.dumps(worker.where()[1]) == str(worker.process.pid)
    worker.tidy()
    assert not worker.temporary.exists()

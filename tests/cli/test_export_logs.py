"""`jepakit export-logs`: a run's folder to sinks, and what it says of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jepakit.recipe import load_recipe
from jepakit.storage.folder import RunFolder
from tests.cli.conftest import Cli


@pytest.fixture
def run(tmp_path: Path) -> str:
    folder = RunFolder.create(tmp_path / "run")
    folder.write_recipe(load_recipe("cartpole_pixels", {"sinks": [{"kind": "mlflow", "experiment": "mine"}]}))
    folder.event("start")
    for end in (50, 100):
        folder.metric("train", env_steps=end, updates=end, **{"loss/jepa": end / 3})
    folder.close()
    return str(folder.path)


def test_an_old_run_is_written_to_several_sinks(run: str, cli: Cli) -> None:
    pytest.importorskip("tensorboard")
    done = cli("export-logs", run, "--to", "csv", "--to", "tensorboard")
    assert done.code == 0, done.err
    assert "written to csv" in done.out
    assert (Path(run) / "sinks" / "csv" / "scalars" / "loss" / "jepa.csv").read_text().split() == [f"{end},{end / 3}" for end in (50, 100)]
    assert list((Path(run) / "sinks" / "tensorboard").iterdir())


def test_a_kind_alone_means_the_runs_own_sink_of_that_kind(run: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert cli("export-logs", run, "--to", "mlflow").code == 0
    assert json.loads((Path(run) / "sinks" / "mlflow.json").read_text())["fields"]["experiment"] == "mine"


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("tensorbord", "did you mean `tensorboard`?"),
        ("{kind: mlflow, experimnt: x}", "--to: unknown field `experimnt`"),
        ("{kind: mlflow, experiment: 3}", "--to: `experiment` cannot be `3`"),
        ("[csv]", "or a kind with fields, such as '{kind: wandb, project: mine}'"),
        ("{kind: csv", "--to: not YAML"),
    ],
)
def test_a_mistake_is_told(run: str, cli: Cli, to: str, words: str) -> None:
    done = cli("export-logs", run, "--to", to)
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err
    assert not (Path(run) / "sinks").exists()


def test_what_is_no_run_or_cannot_be_written_is_an_error(run: str, cli: Cli, tmp_path: Path) -> None:
    done = cli("export-logs", str(tmp_path), "--to", "csv")
    assert (done.code, "is not a run's folder" in done.err) == (2, True)
    (Path(run) / "sinks").write_text("")
    done = cli("export-logs", run, "--to", "csv")
    assert (done.code, "can't write to" in done.err) == (2, True)

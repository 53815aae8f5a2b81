"""A run's folder without a run, and the readers of the tools that show it."""

from __future__ import annotations

import csv
import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jepakit import registry
from jepakit.recipe import load_recipe
from jepakit.recipe.slots import InSlot
from jepakit.registry.signature import ComponentFields
from jepakit.storage.folder import RunFolder

Series = dict[str, list[tuple[int, float]]]  #: by metric: (env steps, value), in order
KINDS = ("csv", "tensorboard", "mlflow", "wandb")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if missing := registry.component("sink", request.param).missing:
        pytest.skip(missing)
    return str(request.param)


def fields(kind: str, **values: Any) -> ComponentFields:
    return InSlot("sink").validate({"kind": kind, **values})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished run of four batches of 50 env steps; episodes end together, and the embedding collapses at 100."""
    folder = RunFolder.create(tmp_path / "run")
    folder.write_recipe(load_recipe("cartpole_pixels", {"regularizers": [{"kind": "variance", "weight": 0.5}]}))
    folder.write_json("provenance.json", {"id": "0123456789"})
    folder.event("start")
    write_batches(folder, range(50, 250, 50))
    folder.event("finished")
    folder.write_json("summary.json", {"status": "finished", "env_steps": 200, "return_last_100": 9.5})
    folder.close()
    return folder.path


def write_batches(folder: RunFolder, ends: Sequence[int]) -> None:
    for end in ends:
        for steps in (end - 20, end - 20, end):
            folder.metric("episode", env_steps=steps, episode_return=steps + 0.1, episode_length=steps, terminated=steps % 100 == 0)
        rank = None if end == 50 else end / 7
        folder.metric("train", env_steps=end, updates=end // 5, **{"loss/jepa": 1e-9 * end / 3, "embedding/rank": rank})
        if end == 100:
            folder.event("collapsed", env_steps=end, variance=1e-9, mean_square=1.0)


def written(run: Path) -> Series:
    """What `metrics.jsonl` holds, read plainly."""
    series = defaultdict(list)
    for record in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        for name, value in record.items():
            if name not in ("phase", "env_steps") and value is not None:
                series[name].append((record["env_steps"], float(value)))
    return dict(series)


def timeless(series: Series) -> Series:
    """Without what the clock decides, which differs when records are written again."""
    return {name: values for name, values in series.items() if name != "wall_s" and not name.startswith("time/")}


def shown(kind: str, run: Path) -> Series:
    """What the tool's own reader finds."""
    return {"csv": _csv, "tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}[kind](run)


def same(kind: str, shown: Series, truth: Series) -> bool:
    """Equal, up to the single precision of TensorBoard's files."""
    rounded: Callable[[float], float] = (lambda value: float(np.float32(value))) if kind == "tensorboard" else float
    return shown == {name: [(steps, rounded(value)) for steps, value in values] for name, values in truth.items()}


def _csv(run: Path) -> Series:
    top = run / "sinks" / "csv" / "scalars"
    files = {path.relative_to(top).with_suffix("").as_posix(): path for path in top.rglob("*.csv")}
    return {name: [(int(steps), float(value)) for steps, value in csv.reader(path.open())] for name, path in files.items()}


def events_of(run: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run / "sinks" / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def _tensorboard(run: Path) -> Series:
    events = events_of(run)
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def mlflow_run(run: Path) -> Any:
    from mlflow.tracking import MlflowClient

    state = json.loads((run / "sinks" / "mlflow.json").read_text())["state"]
    client = MlflowClient(tracking_uri=state["tracking_uri"])
    return client, client.get_run(state["run_id"])


def _mlflow(run: Path) -> Series:
    client, found = mlflow_run(run)
    history = {name: client.get_metric_history(found.info.run_id, name) for name in found.data.metrics}
    return {name: [(metric.step, metric.value) for metric in metrics] for name, metrics in history.items()}


def wandb_records(run: Path, sort: str) -> list[dict[str, Any]]:
    """Of all of the run's folders, in the order in which `wandb sync` uploads them; read by what `wandb leet inspect` calls."""
    from wandb.util import get_core_path

    found = []
    for file in sorted((run / "sinks" / "wandb").glob("offline-run-*/*.wandb")):
        folder = str(file.parents[1])
        command = [get_core_path(), "leet", "inspect", "--json", "--no-observability", "--run-file", str(file), folder]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        found += [record[sort] for record in map(json.loads, lines) if record["type"] == sort]
    return found


def _wandb(run: Path) -> Series:
    series: Series = defaultdict(list)
    rows = [record["item"] for record in wandb_records(run, "history")]
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    for row in rows:
        for name, value in row.items():
            if name != "env_steps" and not name.startswith("_") and "." not in name:  # `curves._type` describes a picture
                series[name].append((row["env_steps"], float(value)))
    return dict(series)

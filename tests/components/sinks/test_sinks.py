"""What a tool's own reader finds is what the run has written, each record once, however often the sink was interrupted."""

from __future__ import annotations

import json
import random
import shutil
import uuid
from pathlib import Path

import pytest
from PIL import Image

from jepakit import registry
from jepakit.errors import UserError
from jepakit.storage import mirror
from jepakit.storage.mirror import export_logs
from tests.components.sinks.conftest import events_of, fields, mlflow_run, same, shown, wandb_records, written


def cut(run: Path, lines: int) -> str:
    """Leave only the first lines of `metrics.jsonl`; returns what it held."""
    text = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text("".join(text.splitlines(keepends=True)[:lines]))
    return text


def test_each_tool_shows_every_record_once_however_often_it_was_interrupted(kind: str, run: Path) -> None:
    text, note = cut(run, 9), run / "sinks" / f"{kind}.json"  # the process was killed in the middle of a batch
    export_logs(run, [fields(kind)])
    early = note.read_text()
    (run / "metrics.jsonl").write_text(text)
    export_logs(run, [fields(kind)])
    assert {"episode_return", "loss/jepa", "embedding/rank"} <= written(run).keys()
    assert same(kind, shown(kind, run), written(run))
    note.write_text(early)  # the process was killed after the tool had taken the records, and before this was noted
    export_logs(run, [fields(kind)])
    assert same(kind, shown(kind, run), written(run))


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow", "wandb"])
def test_pictures_and_videos_are_shown_with_the_run(kind: str, run: Path) -> None:
    pytest.importorskip(kind)
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    frames[0].save("curves.png")
    frames[0].save("greedy.gif", save_all=True, append_images=frames[1:])
    export_logs(run, [fields(kind)], [Path("curves.png"), Path("greedy.gif")])
    assert same(kind, shown(kind, run), written(run))
    if kind == "tensorboard":
        events = events_of(run)
        pictures = {name: events.Images(name) for name in events.Tags()["images"]}
        assert {name: (event.step, event.width, event.height) for name, (event,) in pictures.items()} == dict.fromkeys(
            ("curves", "greedy"), (200, 6, 4)
        )
        assert pictures["greedy"][0].encoded_image_string == Path("greedy.gif").read_bytes()
    elif kind == "mlflow":
        client, found = mlflow_run(run)
        assert [each.path for each in client.list_artifacts(found.info.run_id, "media")] == ["media/curves.png", "media/greedy.gif"]
    else:
        logged = {name: value for row in wandb_records(run, "history") for name, value in row["item"].items() if name.endswith("._type")}
        assert logged == {"curves._type": "image-file", "greedy._type": "video-file"}
        assert len(list((run / "sinks" / "wandb").glob("offline-run-*/files/media/*/*"))) == 2
    export_logs(run, [fields(kind)])  # a later export writes nothing twice
    assert same(kind, shown(kind, run), written(run))


def test_an_experiments_id_is_not_drawn_from_the_global_generator(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_utils = pytest.importorskip("mlflow.utils.name_utils")
    monkeypatch.setattr(name_utils.uuid, "uuid4", lambda: uuid.UUID(int=10**37 + 1))  # MLflow draws digits in place of leading zeros
    before = random.getstate()
    export_logs(run, [fields("mlflow")])
    assert random.getstate() == before


def test_media_that_cannot_be_shown_are_refused(run: Path) -> None:
    Path("notes.txt").write_text("no picture")
    Image.new("RGB", (6, 4)).save("curves.png")
    Path("greedy.mp4").write_bytes(b"")
    for kind, file, message in (
        ("tensorboard", "notes.txt", "notes.txt is no picture or video"),
        ("tensorboard", "nowhere.png", "nowhere.png is no picture or video"),
        ("csv", "curves.png", "the sink `csv` shows no pictures and no videos"),
        ("tensorboard", "greedy.mp4", "TensorBoard plays GIFs, but no MP4: greedy.mp4"),
    ):
        with pytest.raises(UserError, match=message):
            export_logs(run, [fields(kind)], [Path(file)])


@pytest.mark.parametrize("kind", ["csv", "tensorboard", "mlflow"])
def test_a_tool_whose_data_was_removed_gets_all_again(kind: str, run: Path) -> None:
    pytest.importorskip(kind)
    export_logs(run, [fields(kind)])
    (removed,) = Path("mlruns").glob("*/*/meta.yaml") if kind == "mlflow" else [run / "sinks" / kind / "any"]
    shutil.rmtree(removed.parent)
    export_logs(run, [fields(kind)])
    assert same(kind, shown(kind, run), written(run))


def test_a_batch_that_wandb_holds_in_part_is_completed(run: Path) -> None:
    pytest.importorskip("wandb")
    sink = registry.build("sink", fields("wandb"), folder=run / "sinks")
    (run / "sinks").mkdir()
    assert sink.begin(mirror.MirroredRun("id", "name", {}, 0, {"id": "abc"})) == 0
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records[:6]:  # a batch, and two of the three episodes of the next
        numbers = {name: value for name, value in record.items() if name not in ("phase", "env_steps") and value is not None}
        sink.metrics(numbers, record["env_steps"], 0.0)
    sink.end(None)
    (run / "sinks" / "wandb.json").write_text(
        json.dumps({"fields": fields("wandb").model_dump(), "env_steps": 0, "judged": 0, "state": {"id": "abc"}})
    )
    export_logs(run, [fields("wandb")])
    assert same("wandb", shown("wandb", run), written(run))


def test_tensorboard_shows_recipe_and_collapse(run: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    export_logs(run, [fields("tensorboard")])
    events = events_of(run)
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["encoder.dim"].number_value == 64
    assert values["regularizers.0.weight"].number_value == 0.5
    (text,) = events.Tensors("events/text_summary")
    assert text.step == 100
    assert b"collapsed" in text.tensor_proto.string_val[0]


def test_mlflow_shows_recipe_collapse_and_end(run: Path) -> None:
    pytest.importorskip("mlflow")
    export_logs(run, [fields("mlflow", experiment="mine")])
    client, found = mlflow_run(run)
    assert found.data.params["encoder.dim"] == "64"
    assert found.data.params["regularizers.0.kind"] == "variance"
    assert found.data.tags["jepakit.collapsed"] == "100 env steps"
    assert found.info.status == "FINISHED"
    assert client.get_experiment(found.info.experiment_id).name == "mine"
    assert {path.name for path in Path("mlruns").iterdir()} >= {found.info.experiment_id}


def test_wandb_shows_recipe_collapse_and_end(run: Path) -> None:
    pytest.importorskip("wandb")
    export_logs(run, [fields("wandb", project="mine")])
    (start, *_) = wandb_records(run, "run")
    assert start["project"] == "mine"
    assert start["config"]["update"]["encoder"]["dim"] == 64
    summary: dict[str, object] = {}
    for record in wandb_records(run, "summary"):
        summary |= record.get("update", {})
    assert summary["collapsed_at"] == 100
    assert summary["status"] == "finished"


def test_csv_writes_the_recipe_and_each_verdict(run: Path) -> None:
    export_logs(run, [fields("csv")])
    texts = run / "sinks" / "csv" / "texts"
    assert json.loads((texts / "recipe.json").read_text())["encoder"]["dim"] == 64
    assert json.loads((texts / "collapsed_100.json").read_text())["variance"] == 1e-9


def test_csv_writes_nothing_outside_its_folder(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"phase": "train", "env_steps": 250, "../../../outside": 1, "wall_s": 1}) + "\n")
    with pytest.raises(UserError, match="cannot name a file"):
        export_logs(run, [fields("csv")])
    assert not list(run.parent.rglob("outside*"))

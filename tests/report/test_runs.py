"""Runs are read back as they were written, at any depth of folders. Unfinished and corrupt ones are named."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jepakit.errors import UserError
from jepakit.report.record import find_record, read_record, write_record
from jepakit.report.runs import CURVES, POINTS, Run, load_placed, load_runs

if TYPE_CHECKING:
    from tests.report.conftest import MakeFolder

PLAYED = {"episodes": 30, "greedy": {"mean": 500.0}, "sampled": {"mean": 400.0}}


def same(one: Run, other: Run) -> bool:
    curves = all(np.array_equal(one.curves[name], other.curves[name], equal_nan=True) for name in CURVES)
    return curves and vars(one) | {"curves": None} == vars(other) | {"curves": None}


def test_a_run_is_the_same_from_its_folder_and_from_a_record(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(seed=3, batches=100, evaluation=PLAYED)
    (run,) = load_runs([folder])
    record = write_record(run, tmp_path / "kept")
    assert record == tmp_path / "kept" / "0123456789.json"
    assert same(read_record(record), run)
    assert (run.id, run.name, run.seed, run.evaluation) == ("0123456789", "made_up", 3, PLAYED)
    assert run.recipe["encoder"] == {"kind": "vit", "dim": 64, "patch": 20}
    assert run.summary["return_auc"] == 1 / 3
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["phase"] == "train"]
    assert run.curves["env_steps"].tolist() == [line["env_steps"] for line in trained]  # env steps are not rounded: 123,456 stays
    assert np.allclose(run.curves["loss/jepa"], [line["loss/jepa"] for line in trained], rtol=5e-5)
    assert np.isnan(run.curves["return_last_100"][0])  # before the first episode ended
    assert not np.isnan(run.curves["return_last_100"][1:]).any()


def test_a_long_run_is_thinned_evenly_and_keeps_its_last_batch(make_folder: MakeFolder) -> None:
    folder = make_folder(batches=2 * POINTS + 1)
    (run,) = load_runs([folder])
    steps = run.curves["env_steps"]
    assert POINTS / 2 < len(steps) <= POINTS
    assert len(np.unique(np.diff(steps))) == 1
    assert steps[-1] == json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["env_steps"]


def test_a_record_is_small_repeatable_and_free_of_local_paths(make_folder: MakeFolder, tmp_path: Path) -> None:
    command = ["/home/me/.venv/bin/jepakit", "run", "/data/a b/r.yaml", "--set", "plugins=[/x/y/my.py]", "--out=~/runs/one", "runs/seed0"]
    command += ["jepa.target.checkpoint=~me/old/ck", "../../home/me/r.yaml", "//home/me//r.yaml", "file:///home/me/r.yaml", "https://a/b"]
    command += ["/home/o'brien, me/secret}/r.yaml", "encoder.checkpoint=/home/o'brien/[a]/ck"]
    (run,) = load_runs([make_folder(batches=100, command=command, evaluation={"returns": list(range(300)), **PLAYED})])
    first = write_record(run, tmp_path / "a").read_bytes()
    assert len(first) < 12_000
    assert write_record(read_record(tmp_path / "a" / "0123456789.json"), tmp_path / "a").read_bytes() == first
    assert run.provenance["command"][:5] == ["jepakit", "run", "r.yaml", "--set", "plugins=[my.py]"]
    assert run.provenance["command"][5:7] == ["--out=one", "runs/seed0"]
    assert run.provenance["command"][7:] == [
        "jepa.target.checkpoint=ck",
        "r.yaml",
        "r.yaml",
        "r.yaml",
        "https://a/b",
        "r.yaml",
        "encoder.checkpoint=ck",
    ]
    assert list(json.loads(first)) == sorted(json.loads(first))
    assert b"4711" not in first
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["0123456789.json"]


def test_the_folder_of_a_source_is_told_by_name_and_contents(make_folder: MakeFolder) -> None:
    told = []
    for at, (place, contents) in enumerate(
        (("/home/me/a", "11"), ("/mnt/a", "11"), ("/home/me/a", "22"), ("/home/me/a", None), ("/mnt/a", None))
    ):
        folder = make_folder(str(at), run_id=f"{at:010}")
        recipe = (folder / "recipe.yaml").read_text()
        (folder / "recipe.yaml").write_text(f"{recipe}source: {{kind: recording, folder: {place}}}\n")
        provenance = json.loads((folder / "provenance.json").read_text())
        provenance["weights"] = {"encoder.checkpoint": "/home/me/run/weights.safetensors"}
        (folder / "provenance.json").write_text(json.dumps(provenance | ({"data": {"source.folder": contents}} if contents else {})))
        (run,) = load_runs([folder])
        assert "/" not in json.dumps([run.recipe, run.provenance.get("weights")])
        told.append(run.recipe["source"]["folder"])
    assert all(folder.startswith("a@") for folder in told)
    assert told[0] == told[1]  # moved
    assert len(set(told)) == 4


def test_runs_and_records_are_found_at_any_depth_and_count_once(make_folder: MakeFolder, tmp_path: Path) -> None:
    first = make_folder("all/a/one", run_id="aaaaaaaaaa")
    make_folder("all/b/deep/two", run_id="bbbbbbbbbb", seed=1)
    make_folder("all/a/one/checkpoints/1000", run_id="cccccccccc")  # belongs to the run that contains it
    make_folder("all/.hidden/three", run_id="dddddddddd")
    write_record(load_runs([first])[0], tmp_path / "all" / "records")
    (tmp_path / "all" / "throughput.json").write_text("[]")
    found = load_runs([tmp_path / "all", tmp_path / "all" / "records" / "aaaaaaaaaa.json", first])
    assert [run.id for run in found] == ["aaaaaaaaaa", "bbbbbbbbbb"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_evaluated_one_of_a_folder_and_its_record_counts(make_folder: MakeFolder, tmp_path: Path, order: int) -> None:
    folder = make_folder()
    record = write_record(load_runs([folder])[0], tmp_path / "records")
    (folder / "eval.json").write_text(json.dumps(PLAYED))
    (run,) = load_runs([folder, record][::order])
    assert run.evaluation == PLAYED


def test_an_evaluation_of_earlier_weights_is_left_out_with_a_warning(make_folder: MakeFolder) -> None:
    at_the_end = json.loads((make_folder("steps") / "summary.json").read_text())["env_steps"]
    (run,) = load_runs([make_folder("whole", evaluation=PLAYED | {"env_steps": at_the_end})])
    assert run.evaluation
    with pytest.warns(UserWarning, match=r"eval\.json is of weights at 320 env steps, and the run has \d+: left out; evaluate anew with"):
        (run,) = load_runs([make_folder("early", evaluation=PLAYED | {"env_steps": 320})])
    assert run.evaluation is None


def test_a_damaged_folder_among_others_is_left_out_with_a_warning(make_folder: MakeFolder, tmp_path: Path) -> None:
    make_folder("all/good")
    (make_folder("all/bad", run_id="b" * 10) / "metrics.jsonl").unlink()
    with pytest.warns(UserWarning, match=r"left out: .*bad"):
        assert [run.id for run in load_runs([tmp_path / "all"])] == ["0123456789"]
    with pytest.raises(UserError, match=r"can't read .*bad"):
        load_runs([tmp_path / "all", tmp_path / "all" / "bad"])
    (make_folder("all/other", run_id="c" * 10) / "summary.json").write_text("[1, 2]")  # of another program
    with pytest.warns(UserWarning, match=r"left out: .*other"):
        assert [run.id for run in load_runs([tmp_path / "all"])] == ["0123456789"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_run_found_twice_the_folder_counts_with_the_records_evaluation(make_folder: MakeFolder, tmp_path: Path, order: int) -> None:
    (evaluated,) = load_runs([make_folder("elsewhere", evaluation=PLAYED)])
    record, bare, whole = write_record(evaluated, tmp_path / "records"), make_folder("bare"), make_folder("whole")
    (whole / "checkpoints").mkdir()
    for found in ([record, bare, whole], [bare, whole], [record, whole], [whole]):
        ((run, place),) = load_placed(found[::order])
        assert place == whole  # a report shows what its checkpoint sees
        assert run.evaluation == (PLAYED if record in found else None)
    assert load_placed([record, bare][::order])[0][1] == bare


def test_one_run_with_two_results_is_told(make_folder: MakeFolder) -> None:
    """Of two machines, or of two versions of torch: an id knows neither."""
    one, other = make_folder("one"), make_folder("other")
    summary = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps(summary | {"return_last_100": 400.0}))
    with pytest.warns(UserWarning, match=r"other and .*one are run 0123456789 with different results: .*one is taken"):
        assert len(load_runs([one, other])) == 1


def test_runs_without_an_id_are_identified_by_their_recipes(make_folder: MakeFolder, tmp_path: Path) -> None:
    for seed, where in enumerate(("a/0", "b/0")):
        make_folder(where, run_id=None, seed=seed)
    make_folder("c/0", run_id=None, seed=1)
    assert [run.seed for run in load_runs([tmp_path])] == [0, 1]


def test_unfinished_runs_are_skipped_and_named(make_folder: MakeFolder, tmp_path: Path) -> None:
    make_folder("good", status="stopped")
    make_folder("bad", run_id="b" * 10, status="failed")
    make_folder("going", run_id="c" * 10, status=None)
    with pytest.warns(UserWarning, match=r"bad \(failed\).*going \(running, or was killed\)"):
        assert len(load_runs([tmp_path])) == 1
    with pytest.warns(UserWarning, match="bad"), pytest.raises(UserError, match=r"no finished run in .*bad"):
        load_runs([tmp_path / "bad"])
    for missing in ("nowhere", "n" * 1000):
        with pytest.raises(UserError, match=f"there is no .*{missing}"):
            load_runs([tmp_path / "good", tmp_path / missing])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_runs([tmp_path / "good"])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.jsonl", '{"phase": "train", "env_steps": 1}\n{"phase": "tr', r"metrics\.jsonl:2 is corrupt"),
        ("metrics.jsonl", '{"phase": "episode"}\n', r"metrics\.jsonl is corrupt.*train"),
        ("metrics.jsonl", '{"phase": "train", "env_steps": "x"}\n', "curves.env_steps"),
        ("summary.json", "{", r"summary\.json is corrupt"),
        ("summary.json", '{"status": "finished"}', "summary"),
        ("summary.json", "[]", r"summary\.json is corrupt"),
        ("provenance.json", "", r"provenance\.json is corrupt"),
        ("eval.json", "{}", "evaluation"),
        ("recipe.yaml", "a: [", r"recipe\.yaml:1"),
        ("recipe.yaml", "just text", r"recipe\.yaml is corrupt"),
        ("recipe.yaml", "a: !!python/object/apply:os.getcwd []", "tag"),
    ],
)
def test_a_corrupt_file_of_a_run_is_named(make_folder: MakeFolder, file: str, content: str, message: str) -> None:
    folder = make_folder()
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=message):
        load_runs([folder])


def test_missing_and_undecodable_files_are_named(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "metrics.jsonl").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"metrics\.jsonl is corrupt: not UTF-8"):
        load_runs([folder])
    (folder / "provenance.json").unlink()
    with pytest.raises(UserError, match=r"can't read .*provenance\.json"):
        load_runs([folder])


def test_a_corrupt_record_is_named(make_folder: MakeFolder, tmp_path: Path) -> None:
    record = write_record(load_runs([make_folder()])[0], tmp_path / "records")
    text = record.read_text()
    content = json.loads(text)
    breaks = {
        "is corrupt": text[:-100],
        "`id`": json.dumps(content | {"id": "../../etc"}),
        "surrogates not allowed": json.dumps(content | {"name": "\ud800"}),
        "`seed`": json.dumps(content | {"seed": "1"}),
        "not JSON compliant": json.dumps(content | {"provenance": {"cores": float("nan")}}),
        "`recipe.total_steps`": json.dumps(content | {"recipe": {"name": "x", "seed": 0}}),
        "`surprise`": json.dumps(content | {"surprise": 5}),
        "no curve 'loss/jepa'": json.dumps(content | {"curves": {name: [1.0] for name in CURVES[:-1]}}),
        "differ in length": json.dumps(content | {"curves": content["curves"] | {"loss/jepa": [1.0]}}),
    }
    for message, broken in breaks.items():
        record.write_text(broken)
        with pytest.raises(UserError, match=message) as raised:
            load_runs([tmp_path / "records"])
        assert str(record) in str(raised.value)


def test_reading_a_run_executes_none_of_its_code(make_folder: MakeFolder) -> None:
    folder = make_folder(changes={"plugins": ["plugins/0/mine.py"], "encoder": {"kind": "unheard_of", "width": 3}})
    (folder / "plugins" / "0").mkdir(parents=True)
    (folder / "plugins" / "0" / "mine.py").write_text("raise SystemExit('this was run')")
    assert load_runs([folder])[0].recipe["encoder"]["width"] == 3


def test_a_record_is_found_by_its_id(make_folder: MakeFolder, tmp_path: Path) -> None:
    record = write_record(load_runs([make_folder()])[0], tmp_path / "results" / "sweep" / "runs")
    assert find_record([tmp_path / "nowhere", tmp_path / "results"], "0123456789") == record
    assert find_record([tmp_path / "results"], "9876543210") is None


def test_an_unwritable_folder_of_records_is_an_error(make_folder: MakeFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't write"):
        write_record(load_runs([make_folder()])[0], tmp_path / "file")


def test_a_command_that_is_not_utf8_is_escaped(make_folder: MakeFolder, tmp_path: Path) -> None:
    (run,) = load_runs([make_folder(command=["jepakit", "run", os.fsdecode(b"caf\xe9/r.yaml")])])
    assert run.provenance["command"][2] == "caf\\udce9/r.yaml"
    assert read_record(write_record(run, tmp_path / "a")).provenance == run.provenance


@pytest.mark.parametrize("command", [3, None, "text", {"a": 1}, [{"a": 1}, 3]])
def test_a_command_that_is_no_list_is_left_out(make_folder: MakeFolder, command: object) -> None:
    folder = make_folder()
    provenance = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps(provenance | {"command": command}))
    kept = load_runs([folder])[0].provenance["command"]
    assert kept == (["{'a': 1}", "3"] if isinstance(command, list) else [])

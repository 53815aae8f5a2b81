"""A report says what happened in words, is safe to open, stays small, and says what it lacks."""

from __future__ import annotations

import base64
import gzip
import html
import itertools
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jepakit.errors import UserError
from jepakit.report.page.page import build_page, write_report
from jepakit.report.page.panels.differences import differences, differing
from jepakit.report.page.study import load_study
from jepakit.report.record import write_record
from jepakit.report.runs import load_runs
from tests.report.page.conftest import EVIL, PROBE

if TYPE_CHECKING:
    from tests.report.page.conftest import Make

pytest.importorskip("plotly", reason="the extra `report` is not installed")
PANELS = ("verdict", "returns", "configurations", "embedding", "losses", "probes", "diagnostics", "time", "provenance")


@pytest.fixture(scope="module")
def page(runs: Path) -> str:
    return build_page(load_study([runs]))


def words(page: str) -> str:
    """The page's text, without its script, its style and what is packed."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.S)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", text).split()))


def data(page: str) -> dict[str, Any]:
    (packed,) = re.findall(r'<script type="text/plain" id="data">(.*?)</script>', page)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_a_newcomer_reads_which_configuration_collapsed_and_why(page: str) -> None:
    text = words(page)
    assert "Collapsed: J∇̂R̂ (2 of 2 runs)." in text
    assert "The highest return: J∇R̂, 240 [240, 241]" in text
    assert "Nothing but JEPA trains this encoder." in text
    assert "Against that stand the rewards" in text
    assert "First seen at 1,500 env steps" in text
    assert "learns from JEPA + rewards" in text
    assert len(re.findall(r'class="card dead"', page)) == 1
    assert all(f'<section id="{panel}"' in page for panel in PANELS)


def test_no_text_of_a_run_becomes_markup_and_none_of_its_code_runs(page: str) -> None:
    assert "<script>alert" not in page
    assert page.count("<script") == 3
    assert "z&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert EVIL in data(page)["configs"][2]["label"]


def test_the_page_may_fetch_nothing_and_names_no_address(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert not re.search(r"https?://", re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.S))


def test_the_charts_hold_every_metric_by_run_and_by_configuration(page: str) -> None:
    charts = data(page)["charts"]
    assert [(line["role"], line["config"]) for line in charts["returns"]["lines"]] == [
        (role, config) for config in range(3) for role in ("mean", "seed", "seed")
    ]
    first = charts["returns"]["lines"][0]
    assert (first["x"][0], first["y"][0], first["y"][-1]) == (250, 20.5, 240.5)
    assert (first["low"][0], first["high"][0]) == (20, 21)
    assert charts["variance"]["log"]
    assert [mark["x"] for mark in charts["variance"]["marks"]] == [1500, 1500]
    assert charts["variance"]["rules"][0]["y"] == 1e-7
    assert charts["spectrum"]["lines"][0] == {"role": "mean", "config": 0, "x": [1, 2], "y": [0.8, 0.15]}
    labels = [chart["y"] for chart in charts.values()]
    assert EVIL in labels
    assert {line["part"] for chart in charts.values() if chart["y"] == "norm/weights" for line in chart["lines"]} == {"encoder", "actor"}
    assert charts["probe-linear"]["lines"] == [{"config": 0, "y": [0.9, -3, None, 0.4], "dots": [[0.9, 0.9], [-3, -3], [], [0.4, 0.4]]}]
    assert charts["ahead"]["lines"][0]["y"] == [0.8, None]
    assert charts["time"]["lines"][-1] == {"part": "rest", "values": [13.6, 13.6, 13.6]}  # of 60 s for 3,000 env steps


def test_the_headline_counts_the_steps_that_were_made(make_run_folder: Any, tmp_path: Path) -> None:
    """Whole batches may be more than the recipe asks for."""
    make_run_folder(tmp_path / "a", total_steps=2900)
    assert "1 configuration, 1 run, 3,000 env steps each" in words(build_page(load_study([tmp_path / "a"])))


def test_the_same_runs_give_the_same_page(page: str, runs: Path) -> None:
    assert build_page(load_study([runs])) == page


def test_records_show_their_curves_and_each_other_panel_says_what_it_needs(runs: Path, tmp_path: Path) -> None:
    for run in load_runs([runs]):
        write_record(run, tmp_path / "kept")
    text = build_page(load_study([tmp_path / "kept"]))
    assert "Collapsed: J∇̂R̂ (2 of 2 runs)." in words(text)
    assert set(data(text)["charts"]) == {"returns", "variance", "rank", "losses-0"}
    assert words(text).count("Name the runs' folders to see more") == 2
    assert "These runs do not say what time was spent on" in words(text)
    assert "jepakit probe RUN" in words(text)


def test_one_run_makes_a_page(make_run_folder: Make, tmp_path: Path) -> None:
    text = build_page(load_study([make_run_folder(tmp_path / "one")]), title="Mine & yours")
    assert "No embedding collapsed. It ends with a return of 240." in words(text)
    assert "<title>Mine &amp; yours</title>" in text
    assert "interval</b>" not in text


def test_fifty_runs_of_as_many_configurations_stay_small(make_run_folder: Make, tmp_path: Path) -> None:
    for number in range(50):
        make_run_folder(tmp_path / "many" / str(number), case=f"case {number}", collapsed=number % 3 == 0, batches=150, number=number)
    text = build_page(load_study([tmp_path / "many"]))
    assert len(text) < 5e6  # of 10 MB; plotly is two
    assert "17 of 50 configurations collapsed." in words(text)


def test_a_probe_of_earlier_weights_is_left_out(make_run_folder: Make, tmp_path: Path) -> None:
    run = make_run_folder(tmp_path / "one", probe=PROBE | {"env_steps": 500})
    with pytest.warns(UserWarning, match=r"probe\.json is of weights at 500 env steps, and the run has 3000: left out"):
        text = build_page(load_study([run]))
    assert "No run has been probed" in words(text)
    (run / "probe.json").write_text(json.dumps(PROBE | {"best": True}))  # as earlier versions did
    assert "No run has been probed" in words(build_page(load_study([run])))


def test_mistakes_are_named(make_run_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run_folder(tmp_path / "runs" / "one", probe=PROBE | {"env_steps": "many"})
    with pytest.raises(UserError, match=r"probe\.json is corrupt: `env_steps`"):
        build_page(load_study([run]))
    (run / "probe.json").unlink()
    study = load_study([run])
    with pytest.raises(UserError, match="can't write"):
        write_report(study, run / "recipe.yaml" / "report.html")
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(UserError, match=r"pip install 'jepakit\[report\]'"):
        build_page(study)


def test_values_that_begin_alike_and_kinds_that_are_there_twice_are_told_apart() -> None:
    pads = [[{"kind": "shift", "pad": pad}, {"kind": "shift", "pad": 4}] for pad in (1, 2)]
    recipes = [{"augmentations": each, "path": "x" * 50 + str(number)} for number, each in enumerate(pads)]
    fields, more = differing(recipes)
    assert (list(fields), more) == (["augmentations.shift#1.pad", "path"], 0)
    assert fields["augmentations.shift#1.pad"] == ["1", "2"]


def test_what_differs_beside_equal_recipes_is_what_their_labels_tell(make_run_folder: Make, tmp_path: Path) -> None:
    said = {}
    for what, provenance in (("code", {"sources": ["{}"]}), ("weights", {"sources": ["{}"], "weights_sha256": ["{}"]})):
        for seed, begun in itertools.product((0, 1), ("one", "two")):
            run = make_run_folder(tmp_path / what / f"{begun}{seed}", seed=seed, case="same")
            told = json.dumps(provenance).replace("{}", begun)
            (run / "provenance.json").write_text(json.dumps(json.loads((run / "provenance.json").read_text()) | json.loads(told)))
        study = load_study([tmp_path / what])
        (said[what],) = re.findall(r"what differs is ([^.<]*)", str(differences(study).body))
    assert said == {"code": "the code of their plug-ins", "weights": "the weights that they began with"}


def test_a_record_says_what_time_was_spent_on(make_run_folder: Make, tmp_path: Path) -> None:
    folder = make_run_folder(tmp_path / "a")
    summary = json.loads((folder / "summary.json").read_text())
    spent = {"env": 6.0, "policy": 1.5, "learner": 30.0, "eval": 12.0, "other": 10.5}
    (folder / "summary.json").write_text(json.dumps({**summary, "seconds": spent}))
    (run,) = load_runs([folder])
    record = write_record(run, tmp_path / "kept")
    lines = [data(build_page(load_study([place])))["charts"]["time"]["lines"] for place in (folder, record)]
    assert lines[0] == lines[1]
    assert {line["part"]: line["values"] for line in lines[0]} == {"env": [2.0], "policy": [0.5], "learner": [10.0], "rest": [7.5]}


def test_a_run_that_ended_no_episode_is_told_and_the_line_is_no_mean_of_the_others(make_run_folder: Make, tmp_path: Path) -> None:
    folders = [make_run_folder(tmp_path / f"a{seed}", seed) for seed in range(3)]
    summary = json.loads((folders[1] / "summary.json").read_text())
    (folders[1] / "summary.json").write_text(json.dumps({**summary, "return_last_100": None, "return_auc": None}))
    metrics = [json.loads(line) for line in (folders[1] / "metrics.jsonl").read_text().splitlines()]
    kept = [{**each, "return_last_100": None} for each in metrics if each["phase"] != "episode"]
    (folders[1] / "metrics.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in kept))
    text = build_page(load_study([tmp_path]))
    assert "no return: 1 of 3 runs ended no episode" in words(text)
    assert "Some runs ended no episode" in words(text)
    assert [line["role"] for line in data(text)["charts"]["returns"]["lines"]] == ["seed", "seed"]

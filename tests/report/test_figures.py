"""Figures are reproducible, complete and unambiguous. An SVG repeats each text that it draws in a comment."""

from __future__ import annotations

import re
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jepakit.errors import UserError
from jepakit.report.figures import plot_curves
from jepakit.report.labels import Configuration

if TYPE_CHECKING:
    from tests.report.conftest import MakeRun

HEALTHY, DEAD = [0.5, 0.4, 0.3], [0.1, 1e-4, 0.0]


@pytest.fixture(autouse=True)
def without_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="matplotlib")  # an older one about pyparsing
        yield


def configuration(make_run: MakeRun, label: str, runs: int = 2, variances: list[float] = HEALTHY) -> Configuration:
    return Configuration(label, tuple(make_run(seed=seed, returns=[1.0, 2.0, 3.0 + seed], variances=variances) for seed in range(runs)))


def texts(svg: Path) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", svg.read_text())


def test_writing_a_figure_twice_gives_the_same_bytes(make_run: MakeRun, tmp_path: Path) -> None:
    configurations = [configuration(make_run, "a"), configuration(make_run, "b", runs=1)]
    first = plot_curves(configurations, tmp_path / "new" / "one")
    second = plot_curves(configurations, tmp_path / "two")
    assert [path.name for path in first] == ["one.png", "one.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    width, height = struct.unpack(">II", first[0].read_bytes()[16:24])
    assert (width, height > 800) == (1080, True)


def test_labels_title_and_footnote_are_drawn_verbatim(make_run: MakeRun, tmp_path: Path) -> None:
    configurations = [configuration(make_run, "_base"), configuration(make_run, "cost=$five, $six", runs=1)]
    _, svg = plot_curves(configurations, tmp_path / "figure", title="Return ($)", footnote="QUICK: not a result")
    drawn = [text.strip() for text in texts(svg)]
    assert {"_base (2 runs)", "cost=$five, $six (1 run)", "Return ($)", "QUICK: not a result"} <= set(drawn)
    assert "Oblique" not in svg.read_text()  # the font of the letters in a formula


def test_the_lines_of_a_long_label_are_aligned(make_run: MakeRun, tmp_path: Path) -> None:
    label = f"encoder={'9' * 75}, jepa.predictor=mlp"
    _, svg = plot_curves([configuration(make_run, label)], tmp_path / "figure")
    of_label = re.findall(r"<!-- ( *)(?:encoder|jepa.predictor)=", svg.read_text())
    assert of_label == [" ", " "]


def test_a_long_caption_and_a_long_footnote_are_wrapped(make_run: MakeRun, tmp_path: Path) -> None:
    drawn = configuration(make_run, "a", runs=5)
    drawn.runs[0].summary["collapsed"] = True
    footnote = "QUICK: " + "words " * 40
    _, svg = plot_curves([drawn], tmp_path / "figure", footnote=footnote)
    lines = texts(svg)
    assert max(map(len, lines)) <= 110  # at this size 125 reach the figure's edge
    whole = " ".join(lines)
    assert "ends collapsed, by its variance / mean square." in whole
    assert footnote.strip() in whole


def test_the_number_of_runs_stays_on_one_line(make_run: MakeRun, tmp_path: Path) -> None:
    _, svg = plot_curves([configuration(make_run, f"encoder={'9' * 79}")], tmp_path / "figure")
    assert any("(2 runs)" in text for text in texts(svg))


@pytest.mark.parametrize(
    ("runs", "caption"),
    [
        ([5, 4], "Interquartile mean over runs"),
        ([3, 2], "Mean over runs"),
        ([5, 2], "Interquartile mean (of fewer than 4 runs the mean) over runs"),
        ([1, 1], "One run a line."),
    ],
)
def test_the_caption_explains_the_lines(make_run: MakeRun, tmp_path: Path, runs: list[int], caption: str) -> None:
    _, svg = plot_curves([configuration(make_run, str(count), runs=count) for count in runs], tmp_path / "figure")
    assert any(text.startswith(caption) for text in texts(svg))
    assert ("95%" in svg.read_text()) == (max(runs) > 1)


def test_the_collapse_threshold_is_drawn_only_near_the_data(make_run: MakeRun, tmp_path: Path) -> None:
    _, healthy = plot_curves([configuration(make_run, "a")], tmp_path / "healthy")
    _, dead = plot_curves([configuration(make_run, "a", variances=DEAD)], tmp_path / "dead")  # also with a variance of zero on a log axis
    assert "threshold" not in texts(healthy)
    assert "threshold" in texts(dead)


def test_collapsed_runs_are_marked(make_run: MakeRun, tmp_path: Path) -> None:
    drawn = configuration(make_run, "a", runs=2)
    _, before = plot_curves([drawn], tmp_path / "before")
    drawn.runs[1].summary["collapsed"] = True
    _, svg = plot_curves([drawn], tmp_path / "figure")
    assert not any("×" in text for text in texts(before))
    assert any("×: a run that ends collapsed" in text for text in texts(svg))
    assert any("(2 runs, 1 collapsed)" in text for text in texts(svg))


def test_lines_differ_in_colour_and_dashes(make_run: MakeRun, tmp_path: Path) -> None:
    _, svg = plot_curves([configuration(make_run, str(index)) for index in range(8)], tmp_path / "figure")  # as many as paper/grid has
    lines = re.findall(
        r'style="fill: none; (?:stroke-dasharray: ([\d., ]+); stroke-dashoffset: [\d.]+; )?stroke: (#\w+); stroke-width: 1.6',
        svg.read_text(),
    )
    assert len({dashes for dashes, _ in lines}) == 4
    assert len({colour for _, colour in lines}) == 8


def test_each_run_is_drawn_as_its_own_line_on_request(make_run: MakeRun, tmp_path: Path) -> None:
    configurations = [configuration(make_run, "a", runs=5), configuration(make_run, "b", runs=1)]
    counts = []
    for each_run in (False, True):
        _, svg = plot_curves(configurations, tmp_path / f"{each_run}", each_run=each_run)
        counts.append(len(re.findall("stroke-opacity: 0.45", svg.read_text())))
    assert counts == [0, 2 * 5]


def test_runs_without_returns_and_with_negative_returns_can_be_drawn(make_run: MakeRun, tmp_path: Path) -> None:
    nothing = Configuration("nothing", (make_run(returns=[float("nan")] * 3),))
    below = Configuration("below", (make_run(returns=[-1600.0, -900.0, -200.0]),))
    _, svg = plot_curves([nothing, below], tmp_path / "figure")
    assert "−1600" in texts(svg)


def test_an_unwritable_figure_is_a_user_error(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't write"):
        plot_curves([configuration(make_run, "a")], tmp_path / "file" / "curves")

"""``jepakit plot`` draws runs in any state, as text of any width and as images, and runs no code of theirs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs: one whose process was killed and whose embedding collapsed, and one with an evil name."""
    for seed, name in enumerate(("good", "\x1b[2Jevil $x$")):
        folder = tmp_path / "runs" / f"r{seed}"
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(json.dumps({"name": name, "seed": seed, "total_steps": 4000, "plugins": ["./evil.py"]}))
        (folder / "evil.py").write_text("raise SystemExit('code of a run was executed')")
        (folder / "events.jsonl").write_text('{"event": "collapsed", "env_steps": 2000}\n{"event": \n')
        records = [{"phase": "episode", "env_steps": 900, "episode_return": 12.0}]
        for step in (1, 2, 3):
            figures = {"return_last_100": 10.0 * step, "embedding/variance": 10.0**-step, "loss/jepa": 1.0, "time/env": 0.5, "odd $y$": 1}
            records.append({"phase": "train", "env_steps": 1000 * step, **figures})
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return tmp_path / "runs"


def test_one_run_in_a_terminal_of_any_width(cli: Cli, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (30, 40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        code, out, err = cli("plot", str(runs / "r0"))
        assert (code, err) == (0, "")
        assert max(map(len, out.splitlines())) <= columns
        flat = " ".join(out.split())
        assert "good, seed 0: killed, 3,000 of 4,000 env steps" in flat
        assert "embedding collapsed at 2,000 env steps" in flat
        assert all(text in flat for text in ("return", "embedding variance", "time/env", "1,000"))
        assert any(0x2800 < ord(char) < 0x2900 for char in out)


def test_several_runs_share_charts_and_escapes_do_not_reach_the_terminal(cli: Cli, runs: Path) -> None:
    code, out, _ = cli("plot", str(runs))
    assert code == 0
    assert "good, seed 0" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("which", ["r0", ""])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_an_image_holds_every_metric(cli: Cli, runs: Path, tmp_path: Path, which: str, ending: str) -> None:
    code, out, _ = cli("plot", str(runs / which), "--out", f"new/curves.{ending}")
    assert (code, out) == (0, f"wrote new/curves.{ending}\n")
    content = (tmp_path / "new" / f"curves.{ending}").read_bytes()
    if ending == "png":
        assert content.startswith(b"\x89PNG")
    else:
        assert all(text in content.decode() for text in ("embedding variance", "L_JEPA", "env (s a batch)", "odd $y$", "Losses"))


def test_an_image_of_several_runs_names_each_in_full(cli: Cli, runs: Path, tmp_path: Path) -> None:
    """One of them has no return, and one a long name."""
    for name, seed in (("pretraining", 7), ("a_name_that_is_" + "very_" * 8 + "long", 8)):
        folder = runs / f"r{seed}"
        folder.mkdir()
        (folder / "recipe.yaml").write_text(json.dumps({"name": name, "seed": seed, "total_steps": 4000}))
        (folder / "metrics.jsonl").write_text('{"phase": "train", "env_steps": 1000, "embedding/variance": 0.1, "loss/jepa": 1.0}\n')
    assert cli("plot", str(runs), "--out", "curves.svg").code == 0
    drawn = re.sub(r"\s*<!-- |\s*-->", " ", (tmp_path / "curves.svg").read_text())
    assert "pretraining, seed 7" in drawn
    assert "very_long, seed 8" in drawn


def test_mistakes_are_one_line(cli: Cli, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, told in (
        (["nowhere"], "there is no nowhere"),
        (["empty"], "no run in empty has recorded anything yet"),
        ([str(runs), "--out", "a.pdf"], "--out a.pdf: write a file that ends in .png or .svg"),
        ([str(runs), "--out", f"{runs}/r0/recipe.yaml/a.png"], "can't write"),
    ):
        code, out, err = cli("plot", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert told in err

"""``jepakit runs`` and ``jepakit doctor``, as a user calls them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from jepakit.cli.output import fitting_table
from jepakit.machine import doctor
from jepakit.machine.doctor import examine

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, status: str | None) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text("name: tiny\nseed: 4\ntotal_steps: 2000\n")
        (folder / "metrics.jsonl").write_text('{"phase": "train", "env_steps": 500, "return_last_100": 12.25}\n')
        if status:
            (folder / "summary.json").write_text(json.dumps({"status": status, "env_steps": 2000, "return_last_100": 20.5}))
        return folder

    return make


def test_runs_are_listed(process: Cli, make_run: Callable[..., Path]) -> None:
    make_run("tiny/b", "finished")
    make_run("tiny/a", None)
    code, out, err = process("runs")
    assert (code, err) == (0, "")
    heading, *rows, total = out.splitlines()
    assert heading.split() == ["run", "configuration", "seed", "state", "env", "steps", "done", "return", "size", "resumable"]
    assert rows[0].split("  ")[0] == "tiny/a"
    cells = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]
    assert cells == [
        ["tiny/a", "-", "4", "killed", "500", "25%", "12.25", "100 bytes", "yes, from the start"],
        ["tiny/b", "-", "4", "finished", "2,000", "100%", "20.5", "166 bytes", "-"],
    ]
    assert total == "2 runs, 266 bytes"
    told = json.loads(process("runs", "runs/tiny", "--json").out)
    assert [(entry["path"], entry["state"], entry["resumes_at"]) for entry in told] == [
        ("runs/tiny/a", "killed", 0),
        ("runs/tiny/b", "finished", None),
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_table_fits_80_columns(cli: Cli, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    make_run("cartpole_pixels/0123456789", None)
    monkeypatch.setattr("jepakit.cli.output.to_terminal", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "80")
    out = cli("runs").out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "resumable" in out.splitlines()[0]
    assert "1 run, " in out


def test_configurations_are_distinguished_and_ids_are_never_wrapped(
    cli: Cli, make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, line in enumerate(("case: baseline", "total_steps: 9", "total_steps: 2000")):
        folder = make_run(f"a_name_of_some_length/0123456789{number}", "finished")
        recipe = folder / "recipe.yaml"
        kept = [text for text in recipe.read_text().splitlines() if not text.startswith(line.partition(":")[0])]
        recipe.write_text("\n".join([*kept, line]) + "\n")
    rows = cli("runs").out.splitlines()[1:-1]
    # The third run equals the first, but has no case.
    assert [row.split("  ")[1].strip() for row in rows] == ["baseline", "total_steps=9", "baseline"]
    for width in (80, 60):
        monkeypatch.setattr("jepakit.cli.output.to_terminal", lambda: True)
        monkeypatch.setenv("COLUMNS", str(width))
        lines = cli("runs").out.splitlines()
        assert all(len(line) <= width for line in lines)
        for number in range(3):
            assert any(f"a_name_of_some_length/0123456789{number}" in line for line in lines)
        assert any(line.startswith("not shown, for want of width") for line in lines)


def test_a_folder_without_runs_is_reported(cli: Cli, tmp_path: Path) -> None:
    assert cli("runs") == (2, "", "there is no folder runs\n")
    assert cli("runs", str(tmp_path)) == (0, f"no runs in {tmp_path}\n", "")


def test_the_doctor_reports_that_a_run_will_work(process: Cli) -> None:
    code, out, err = process("doctor")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "a run will work"
    for what in ("torch ", "device ", "cores ", "rendering ", "recipes ", "disk ", "usable", "400×600"):
        assert what in out


def test_the_doctor_reports_each_problem_and_how_to_fix_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["safetensors>=0.5", "torch>=99", "no-such-package[fast]>=1.2,<2", "pytest ; extra == 'dev'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: wanted)
    monkeypatch.setattr("jepakit.components.envs.simulators.draw", lambda simulator: 1 / 0)
    code, out, err = cli("doctor", "--runs", "/proc/nowhere/runs")
    assert (code, err) == (1, "")
    lines = {line.split()[1]: line for line in out.splitlines() if line.startswith("✗")}
    assert "which is not >=99; pip install 'torch>=99'" in lines["torch"]
    assert lines["no-such-package"].endswith("missing; pip install 'no-such-package[fast]<2,>=1.2'")
    assert "ZeroDivisionError" in lines["rendering"]
    assert "cannot be written to" in lines["disk"] or "make room" in lines["disk"]
    assert out.splitlines()[-1] == f"a run will not work: {', '.join(lines)}"
    assert "pytest" not in out


def test_the_doctor_tells_of_little_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SHARED", tmp_path)
    for free, hint in ((10**9, False), (64 * 2**20, True)):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free, total=free))
        found = {finding.what: finding for finding in examine(tmp_path)}["shared memory"]
        assert (found.works, "docker run --shm-size" in found.fix) == (True, hint)


def test_an_extra_is_installed_if_all_its_packages_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {
        "jepakit": ["numpy>=2", "numpy>=2 ; extra == 'atari'", "pytest[more] ; extra == 'dmc'", "no-such-package ; extra == 'timm'"],
        "pytest": ["pluggy ; extra == 'more'", "no-such-package ; extra == 'less'"],
    }
    monkeypatch.setattr(doctor.metadata, "requires", wanted.get)
    found = {finding.what: finding for finding in examine(tmp_path)}
    version = doctor.metadata.version
    assert (found["atari"].found, found["atari"].fix) == (f"numpy {version('numpy')}", "")
    assert found["dmc"].found == f"pytest {version('pytest')}, pluggy {version('pluggy')}"
    assert found["timm"].found.startswith("without no-such-package")
    assert (found["timm"].fix, found["timm"].works) == ("pip install 'jepakit[timm]'", True)


def test_a_package_that_cannot_be_imported_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("libcudart.so.99: cannot open shared object file")

    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy>=2"])
    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    found = next(finding for finding in examine(tmp_path) if finding.what == "numpy")
    assert not found.works
    assert "cannot be imported: ImportError: libcudart" in found.found
    assert found.fix == "pip install --force-reinstall 'numpy>=2'"


@pytest.mark.parametrize("columns", [40, 200])
def test_thousands_of_rows_are_laid_out_in_no_time(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [(f"run_{number:05}", "a configuration with quite some words", str(number)) for number in range(5000)]
    started = time.process_time()
    grid, left_out = fitting_table(("run", "configuration", "seed"), rows, foldable=("configuration",), less=("seed",))
    lines = grid.plain.splitlines()
    assert time.process_time() - started < 5
    assert left_out == []
    assert max(map(len, lines)) <= columns
    assert (len(lines) == 5001) == (columns == 200)


def test_wide_characters_and_long_words_keep_the_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    grid, _ = fitting_table(("run", "configuration"), [("a", "漢字" * 10), ("b", "x" * 40)], foldable=("configuration",))
    assert all(cell_len(line) <= 30 for line in grid.plain.splitlines())
    assert grid.plain.count("漢") == 10
    assert grid.plain.count("x") == 40


@pytest.mark.parametrize(("width", "left_out"), [("40", []), ("24", ["configuration"]), ("12", ["return", "configuration"])])
def test_a_dropped_column_comes_back_once_a_wider_one_has_gone(monkeypatch: pytest.MonkeyPatch, width: str, left_out: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", width)
    rows = [("0123456789", "a" * 30, "473.2")]
    _, dropped = fitting_table(("run", "configuration", "return"), rows, foldable=("configuration",), less=("return", "configuration"))
    assert dropped == left_out

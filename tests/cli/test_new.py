"""``jepakit new``: the files that it writes work unchanged."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jepakit.cli.new import PATHS
from jepakit.recipe import load_recipe
from jepakit.registry import SLOTS
from tests.forked import forked

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def test_every_slots_template_passes_its_test_and_prints_a_valid_recipe(cli: Cli, tmp_path: Path) -> None:
    assert set(PATHS) == set(SLOTS)
    for slot in SLOTS:
        code, out, _ = cli("new", slot, f"tiny_{slot}", "--out", "mine")
        assert code == 0
        (tmp_path / "mine" / f"{slot}.yaml").write_text(recipe_in(out))
        code, out, err = cli("validate", f"mine/{slot}.yaml")
        assert (code, err) == (0, ""), err
        assert out.startswith("valid: ")
    assert_imports_are_sorted(tmp_path / "mine")
    assert f"{2 * len(SLOTS)} passed" in pytest_output(tmp_path)


def recipe_in(out: str) -> str:
    """The recipe that `new` prints."""
    lines = [line for line in out.splitlines() if line.startswith("    ")]
    return textwrap.dedent("\n".join([*lines, "    threads: 1"]))


def pytest_output(folder: Path) -> str:
    """Pytest's output for the folder ``mine``, inside a project with jepakit's own pytest settings. All its tests must pass."""
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib"]\npythonpath = ["."]\n')
    done = forked(_run_pytest, "-q", "-p", "no:cacheprovider", "mine", cwd=folder, timeout=300)
    assert done.code == 0, done.out
    return done.out


def _run_pytest(*args: str) -> None:
    sys.exit(pytest.main(list(args)))


def assert_imports_are_sorted(folder: Path) -> None:
    """Assert that Ruff finds no unsorted import in the folder."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "I", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


FROM = [("algorithm", "sac"), ("encoder", "vit")]


def test_a_generated_subclass_passes_its_test_and_prints_a_valid_recipe(cli: Cli, tmp_path: Path) -> None:
    for slot, kind in FROM:
        code, out, err = cli("new", slot, f"my_{kind}", "--from", kind, "--out", "mine")
        assert (code, err) == (0, "")
        (tmp_path / "mine" / f"{kind}.yaml").write_text(recipe_in(out))
        code, out, err = cli("validate", f"mine/{kind}.yaml")
        assert (code, err) == (0, ""), err
        assert ("not taken over" in out) == (kind == "sac")  # the main recipe uses the others, so their fields are taken over
    assert_imports_are_sorted(tmp_path / "mine")
    assert f"{2 * len(FROM)} passed" in pytest_output(tmp_path)


def test_a_subclass_recipe_keeps_the_fields_of_the_main_recipe(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(recipe_in(cli("new", "algorithm", "my_ppo", "--from", "ppo").out))
    mine, main = load_recipe("r.yaml").algorithm.model_dump(), load_recipe("cartpole_pixels").algorithm.model_dump()
    assert mine == main | {"kind": "my_ppo", "magnitude_weight": 0.001}


ODD = [  # without a constructor, without weights, of a width that must fit, with a required field
    *[("curiosity", "jepa"), ("objective", "l2"), ("algorithm", "none"), ("predictor", "conv"), ("env", "gym_state")],
]


@pytest.mark.parametrize(("slot", "kind"), ODD)
def test_an_odd_kind_can_be_subclassed(cli: Cli, tmp_path: Path, slot: str, kind: str) -> None:
    code, out, _ = cli("new", slot, "mine", "--from", kind, "--out", "mine")
    assert code == 0
    (command,) = [line.partition("jepakit ")[2] for line in out.splitlines() if "jepakit check" in line]
    assert cli(*command.split())[::2] == (0, "")
    (tmp_path / "mine" / "r.yaml").write_text(recipe_in(out))
    assert cli("validate", "mine/r.yaml").code == 0
    assert_imports_are_sorted(tmp_path / "mine")


def test_a_plugins_kind_can_be_subclassed(cli: Cli, tmp_path: Path) -> None:
    assert cli("new", "encoder", "basis", "--out", "theirs").code == 0
    code, out, err = cli("new", "encoder", "mine", "--from", "basis", "--out", "mine", "--plugins", "theirs/basis.py")
    assert (code, err) == (0, "")
    (tmp_path / "mine" / "r.yaml").write_text(recipe_in(out))
    assert cli("validate", "mine/r.yaml").code == 0
    (command,) = [line.partition("jepakit ")[2] for line in out.splitlines() if "jepakit check" in line]
    assert command == "check encoder mine --plugins theirs/basis.py --plugins mine/mine.py"
    code, out, err = cli(*command.split())
    assert (code, out, err) == (0, "encoder `mine` keeps all rules of its slot\n", "")
    assert "2 passed" in pytest_output(tmp_path)


def test_an_unknown_base_kind_gets_a_suggestion(cli: Cli) -> None:
    code, _, err = cli("new", "algorithm", "mine", "--from", "pppo")
    assert (code, err) == (2, "unknown algorithm `pppo`; did you mean `ppo`?\n")


def test_new_prints_the_next_steps(process: Cli, tmp_path: Path) -> None:
    code, out, err = process("new", "encoder", "cnn_of_a_test")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "wrote cnn_of_a_test.py and test_cnn_of_a_test.py",
        "to check it:  pytest test_cnn_of_a_test.py",
        "or:           jepakit check encoder cnn_of_a_test --plugins cnn_of_a_test.py",
        "to use it, in a recipe in this folder:",
        "    extends: cartpole_pixels",
        "    plugins: [./cnn_of_a_test.py]",
        "    encoder: {kind: cnn_of_a_test}",
    ]
    assert '@register("encoder", "cnn_of_a_test")\nclass CnnOfATest(nn.Module):' in (tmp_path / "cnn_of_a_test.py").read_text()
    assert 'with_name("cnn_of_a_test.py")).CnnOfATest' in (tmp_path / "test_cnn_of_a_test.py").read_text()
    assert not any("my_component" in path.read_text() or "MyComponent" in path.read_text() for path in tmp_path.glob("*.py"))


@pytest.mark.parametrize("there", ["mine.py", "test_mine.py"])
def test_an_existing_file_is_not_overwritten(cli: Cli, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    code, _, err = cli("new", "target", "mine")
    assert code == 2
    assert err == f"{there} already exists; choose another name, or another folder with --out DIR\n"
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


@pytest.mark.parametrize(
    ("slot", "name", "says"),
    [
        ("encodr", "mine", "there is no slot `encodr`; did you mean `encoder`?"),
        ("encoder", "MyCNN", "did you mean `my_cnn`?"),
        ("encoder", "2d-cnn", "did you mean `d_cnn`?"),
        ("encoder", "../mine", "did you mean `mine`?"),
        ("encoder", "7", "a letter first"),
        ("encoder", "vit", "the encoder `vit` already exists; choose another name, such as `my_vit`"),
        ("encoder", "class", "try `my_class`"),
        ("encoder", "random", "random.py would hide the Python keyword or module `random`; try `my_random`"),
        ("encoder", "torch", "try `my_torch`"),
        ("algorithm", "categorical", "`categorical` would name its class `Categorical`, which the file already uses; try `my_categorical`"),
        ("env", "tensor_dict", "try `my_tensor_dict`"),
    ],
)
def test_an_invalid_name_is_reported_in_one_line(cli: Cli, tmp_path: Path, slot: str, name: str, says: str) -> None:
    code, out, err = cli("new", slot, name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_created_is_reported_in_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = cli("new", "encoder", "mine", "--out", "file/folder")
    assert (code, err) == (2, "can't write file/folder: Not a directory\n")

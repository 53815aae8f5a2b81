"""``jepakit show``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from jepakit.recipe import dump, load_recipe

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def test_the_shown_recipe_loads_as_the_same_recipe(process: Cli, cli: Cli) -> None:
    code, out, err = process("show", "cartpole_pixels", "--set", "encoder.dim=32", "--seed", "7")
    assert (code, err) == (0, "")
    assert out == dump(load_recipe("cartpole_pixels", ["encoder.dim=32"], 7))
    Path("cartpole_pixels.yaml").write_text(out)
    assert cli("show", "cartpole_pixels.yaml") == (0, out, "")


def test_origin_names_the_line_of_each_value(cli: Cli) -> None:
    Path("mine.yaml").write_text("extends: cartpole_pixels\nname: mine\nencoder:\n  dim: 32\n")
    out = cli("show", "mine.yaml", "--origin", "--set", "jepa.weight=2", "--seed", "7").out
    origins = dict(re.findall(r"^ *(?:- )?(\w+): .*# (.+)$", out, re.MULTILINE))
    assert origins["name"] == "mine.yaml:2"
    assert origins["dim"] == "mine.yaml:4"
    assert origins["weight"] == "--set #1"
    assert origins["seed"] == "--seed"
    assert origins["on_collapse"] == "default"
    path, line = origins["total_steps"].rsplit(":", 1)
    assert Path(path).read_text().splitlines()[int(line) - 1].startswith("total_steps:")


def test_a_mistake_is_located_and_nothing_is_printed(cli: Cli) -> None:
    code, out, err = cli("show", "cartpole_pixels", "--set", "encoder.dmi=32")
    assert (code, out) == (2, "")
    assert err.startswith("--set #1:")
    assert "did you mean `dim`?" in err

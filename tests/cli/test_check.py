"""``jepakit check``: the conformance kit from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jepakit.registry.plugins import PluginWarning

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

BROKEN = """
import torch
from jepakit import register

@register("regularizer", "vector")
class Vector:
    def __init__(self, *, size: int = 2): self.size = size
    def __call__(self, s_x): return s_x.mean(dim=0)
"""


def test_a_component_that_keeps_the_rules_passes(cli: Cli) -> None:
    assert cli("check", "objective", "smooth_l1", "--set", "beta=0.5") == (0, "objective `smooth_l1` keeps all rules of its slot\n", "")


def test_a_broken_rule_is_reported(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    code, out, _ = cli("check", "regularizer", "vector", "--plugins", "./broken.py")
    assert code == 1
    assert out.startswith("regularizer `vector` (Vector at broken.py:5) breaks a rule of its slot\n- output: ")


def test_an_unknown_kind_error_names_the_file_that_registers_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    assert cli("check", "regularizer", "vector") == (
        2,
        "",
        "unknown regularizer `vector`; broken.py registers it: add --plugins broken.py, or in a recipe `plugins: [broken.py]`\n",
    )
    err = cli("validate", "cartpole_pixels", "--set", "regularizers=[{kind: vector}]").err
    assert "./broken.py registers it: add --set 'plugins=[./broken.py]'" in err
    (tmp_path / "r.yaml").write_text("extends: cartpole_pixels\nregularizers: [{kind: vector}]\n")
    assert "./broken.py registers it: write `plugins: [./broken.py]`" in cli("validate", "r.yaml").err
    (tmp_path / "broken.py").write_text(f"{BROKEN}\nimport no_such_module\n")
    (tmp_path / "r.yaml").write_text("extends: cartpole_pixels\nplugins: [./broken.py]\nregularizers: [{kind: vector}]\n")
    with pytest.warns(PluginWarning):
        err = cli("validate", "r.yaml").err
    assert "No module named 'no_such_module'" in err
    assert "registers it" not in err, "it is named already"


def test_a_plugin_that_cannot_be_imported_is_reported(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text("from torch import nn\ndef f(:\n")
    code, out, err = cli("check", "encoder", "half", "--plugins", "half.py")
    assert (code, out) == (2, "")
    assert err == "the plug-in `half.py` cannot be imported: SyntaxError: invalid syntax (half.py:2): `def f(:`\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["objective", "l3"], 2, "unknown objective `l3`"),
        (["objective", "smooth_l1", "--set", "betta=1"], 1, "- field `betta`: there is none of that name; did you mean `beta`?"),
        (["objective", "smooth_l1", "--set", "beta=-1"], 1, "- field `beta`: Input should be greater than or equal to 0"),
        (["objective", "smooth_l1", "--set", "beta"], 2, "--set beta: write FIELD=VALUE, such as --set dim=16"),
        (["objective", "smooth_l1", "--set", "beta=[1"], 2, "--set"),
        (["encoder", "mlp", "--frames", "3,1,40"], 2, "--frames 3,1,40: write four whole numbers K,C,H,W"),
    ],
)
def test_a_mistake_gets_a_clear_message(cli: Cli, arguments: list[str], code: int, message: str) -> None:
    found, out, err = cli("check", *arguments)
    assert found == code
    assert message in out + err
    assert "Traceback" not in out + err


def test_an_error_in_a_library_is_located_at_the_users_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(
        "import json\nfrom jepakit import register\nfrom torch import nn\n\n@register('encoder', 'calls')\nclass Calls(nn.Module):\n"
        "    def __init__(self, frames):\n        super().__init__()\n        json.loads('{')\n"
    )
    (tmp_path / "recipe.yaml").write_text("extends: cartpole_pixels\nplugins: [./calls.py]\nencoder: {kind: calls}\n")
    code, _, err = cli("validate", "recipe.yaml")
    assert (code, "Traceback" in err) == (2, False)
    assert "JSONDecodeError" in err
    assert "(calls.py, line 9)" in err
    code, _, err = cli("--traceback", "validate", "recipe.yaml")
    assert code == 2
    assert "Traceback" in err


def test_an_error_without_user_code_names_the_library(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepakit.components.encoders.vit.ViT.forward", lambda self, pixels: json.loads("{"))
    code, _, err = cli("validate", "cartpole_pixels")
    assert code == 2
    assert re.search(r"JSONDecodeError: .* \((in json\.decoder|test_check\.py), line \d+", err)

"""The shell completes verbs, recipes, slots, kinds and runs; the help follows the conventions of command lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jepakit import registry
from jepakit.cli import completion


def completed(words: str, cwd: Path | None = None) -> list[str]:
    variables = os.environ | {"_JEPAKIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    code = "import sys; sys.argv = ['jepakit']; from jepakit.cli.app import main; main()"
    return subprocess.run([sys.executable, "-c", code], env=variables, cwd=cwd, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("jepakit expl", ["explain"]),
        ("jepakit explain enc", ["encoder"]),
        ("jepakit explain encoder v", ["vit"]),
        ("jepakit run cartpole_pi", ["cartpole_pixels"]),
    ],
)
def test_a_word_is_completed(words: str, expected: list[str]) -> None:
    assert completed(words) == expected


def test_a_run_folder_is_completed(tmp_path: Path) -> None:
    for folder in ("abc", "jobs/abc"):  # a sweep's job is no run
        (tmp_path / "runs" / "mine" / folder).mkdir(parents=True)
        (tmp_path / "runs" / "mine" / folder / "recipe.yaml").touch()
    assert completed("jepakit eval ru", tmp_path) == ["runs/mine/abc"]


def test_the_completed_kinds_are_the_registered_kinds() -> None:
    builtin = {(found.slot, found.kind) for found in registry.components() if found.cls.__module__.startswith("jepakit.")}
    assert set(completion._kinds()) == builtin


@pytest.mark.parametrize("verb", [[], ["run"], ["explain"], ["compare"]])
def test_help_shows_conventional_argument_names(verb: list[str]) -> None:
    text = subprocess.run([sys.executable, "-m", "jepakit", *verb, "--help"], capture_output=True, text=True).stdout
    assert "Usage: jepakit" in text
    assert not {"<bool>", "<str>", "{RECIPE}", "{SLOT}"} & set(text.replace("\n", " ").split())

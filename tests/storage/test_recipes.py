"""What is known of recipes never differs from what their text says, whoever wrote it, copied it or damaged the cache."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from jepakit.recipe.errors import Problem, Source
from jepakit.recipe.yaml12 import read_yaml
from jepakit.storage import recipes
from jepakit.storage.recipes import NAME, Recipes

TEXTS = {
    "usual": "name: a\nseed: 3\nencoder: {kind: vit, dim: 64}\n",
    "no seed": "name: a\n",
    "null seed": "name: a\nseed:\n",
    "seed in quotes": 'name: "b\nseed: 5\n"\n"seed" : 7\n',
    "two lines of seed": "seed: 1\nname: a\nseed: 2\n",
    "seed in a text": "note: |\n  x\nseed: 1\nold: {seed: 1}\n",
    "long seed": "seed: 123456789012345678901234567890\nname: a\n",
    "zeros": "seed: 007\n",
    "commented": "seed: 3 # three\n",
    "windows": "name: a\r\nseed: 3\r\n",
    "floats": "seed: 3\na: .inf\nb: -.inf\nc: 1e-3\nd: 9007199254740993\n",
    "not YAML": "seed: 3\n[",
    "a list": "[1, 2]\n",
    "empty": "",
    "a tag": "seed: 3\na: !!python/object:os.system x\n",
    "nul": "\0seed:\nname: a\n",
    "half a character": 'seed: 3\na: "\\ud800"\n',
}


def read(index: Recipes, text: str) -> tuple[Any, list[str]]:
    problems: list[Problem] = []
    return index.read(Source("recipe.yaml", text, Path()), problems), [str(problem) for problem in problems]


def truth(text: str) -> tuple[Any, list[str]]:
    problems: list[Problem] = []
    node = read_yaml(Source("recipe.yaml", text, Path()), problems)
    return node.plain() if node else None, [str(problem) for problem in problems]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_recipe_reads_the_same_at_first_again_and_in_the_next_process(text: str, tmp_path: Path) -> None:
    index = Recipes(tmp_path)
    variants = [text, *(text.replace("seed: 3", f"seed: {seed}").replace("seed: 5", f"seed: {seed}") for seed in (0, 7, 10**17, 10**18))]
    for variant in (*variants, text.replace("seed: 3", "seed:"), *variants):
        assert read(index, variant) == truth(variant)
    index.save()
    later = Recipes(tmp_path)
    for variant in reversed(variants):
        assert repr(read(later, variant)) == repr(truth(variant))


def test_seeds_and_later_processes_parse_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Recipes(tmp_path)
    read(index, TEXTS["usual"])
    index.save()
    monkeypatch.setattr(recipes, "read_yaml", lambda *_: pytest.fail("it was parsed again"))
    assert read(index, TEXTS["usual"].replace("3", "4"))[0]["seed"] == 4
    assert read(Recipes(tmp_path), TEXTS["usual"].replace("3", "5"))[0] == {"name": "a", "seed": 5, "encoder": {"kind": "vit", "dim": 64}}


def test_a_file_that_is_replaced_with_its_time_and_size_kept_is_read_anew(tmp_path: Path) -> None:
    recipe, other = tmp_path / "recipe.yaml", tmp_path / "other.yaml"
    recipe.write_text("name: a\n")
    other.write_text("name: b\n")
    os.utime(other, ns=(0, 0))  # before the first: the clock went backwards
    index = Recipes(tmp_path / "cache")
    assert read(index, recipe.read_text())[0] == {"name": "a"}
    index.save()
    shutil.copy2(other, recipe)
    assert read(Recipes(tmp_path / "cache"), recipe.read_text())[0] == {"name": "b"}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b"[" * 100_000,
        b'{"jepakit": "0.0.1", "recipes": {}}',
        json.dumps({"jepakit": recipes.__version__, "recipes": [1]}).encode(),
        json.dumps({"jepakit": recipes.__version__, "recipes": {"a": 1}}).encode(),
    ],
)
def test_a_damaged_or_foreign_cache_is_ignored_and_replaced(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(damage)
    index = Recipes(tmp_path)
    assert read(index, TEXTS["usual"]) == truth(TEXTS["usual"])
    index.save()
    assert len(Recipes(tmp_path).known) == 1


def test_another_users_cache_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Recipes(tmp_path)
    read(index, TEXTS["usual"])
    index.save()
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / NAME).stat().st_uid + 1)
    assert Recipes(tmp_path).known == {}


def test_without_a_place_to_write_everything_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(recipes, "_cache", lambda: None)
    for index in (Recipes(tmp_path / "file"), Recipes(Path("/proc/nowhere")), Recipes()):
        assert read(index, TEXTS["usual"]) == truth(TEXTS["usual"])
        index.save()
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


def test_two_processes_at_once_leave_a_whole_cache(tmp_path: Path) -> None:
    first, second = Recipes(tmp_path), Recipes(tmp_path)
    read(first, "name: a\n")
    read(second, "name: b\n")
    first.save()
    second.save()
    assert read(Recipes(tmp_path), "name: b\n")[0] == {"name": "b"}
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_the_cache_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "MOST", 3)
    for start in (0, 10):
        index = Recipes(tmp_path)
        for number in range(start, start + 10):
            read(index, f"name: a{number}\n")
        index.save()
    assert len(Recipes(tmp_path).known) == 13

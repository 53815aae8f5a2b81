"""``jepakit list`` and ``jepakit explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jepakit.registry import CONTEXT, SLOTS, components
from tests.cli.conftest import SUMMARY

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def test_list_has_a_line_for_each_component(cli: Cli) -> None:
    code, out, _ = cli("list")
    lines = [line.split() for line in out.splitlines()[1:]]
    assert code == 0
    assert [tuple(line[:2]) for line in lines] == [(found.slot, found.kind) for found in components()]
    assert {slot for slot, *_ in lines} == set(SLOTS)


def test_list_of_a_slot_shows_only_that_slot(cli: Cli) -> None:
    assert {line.split()[0] for line in cli("list", "encoder").out.splitlines()[1:]} == {"encoder"}


def test_piped_list_shows_plugins_in_full_and_warns_about_a_broken_one(process: Cli, plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    code, out, err = process("list", "encoder", "--plugins", "tiny.py", "--plugins", "./broken.py")
    assert code == 0
    [tiny] = [line for line in out.splitlines() if "tiny" in line]
    assert SUMMARY in tiny
    assert tiny.endswith("tiny.py:5")
    assert err.startswith("warning: the plug-in `./broken.py` cannot be imported: ZeroDivisionError")
    assert err.count("\n") == 1


def test_a_recipes_plugins_are_listed_and_explained(cli: Cli, plugin: Path) -> None:
    Path("recipes").mkdir()
    Path("recipes/mine.yaml").write_text("extends: cartpole_pixels\nplugins: [../tiny.py]\nencoder: {kind: tiny}\n")
    assert " tiny " in cli("list", "--recipe", "recipes/mine.yaml").out
    assert "dim: an integer; default 8\n      Width of s_x." in cli("explain", "encoder", "tiny", "--recipe", "recipes/mine.yaml").out
    assert " tiny " not in cli("list").out


@pytest.mark.parametrize("command", [("list",), ("explain", "encoder", "tiny")])
def test_a_narrow_terminal_wraps_lines_without_losing_text(
    cli: Cli, plugin: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    piped = cli(*command, "--plugins", str(plugin)).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    shown = cli(*command, "--plugins", str(plugin)).out
    assert max(map(len, piped.splitlines())) >= len(SUMMARY)
    assert max(map(len, shown.splitlines())) <= 60
    assert sorted(shown.replace("\n", "").replace(" ", "")) == sorted(piped.replace("defined at", "").replace("\n", "").replace(" ", ""))


def test_explain_shows_everything_about_every_component(cli: Cli) -> None:
    for found in components():
        code, out, _ = cli("explain", found.slot, found.kind)
        said = " ".join(out.split())
        assert code == 0
        for text in (
            found.summary,
            found.description,
            found.source,
            *(field.description or "" for field in found.fields.model_fields.values()),
        ):
            assert " ".join(text.replace("``", "`").split()) in said
        assert all(f" {name}: " in out for name in found.fields.model_fields if name != "kind")
        assert all(f"  {name}: {CONTEXT[name]}\n" in out for name in found.context)


def test_explain_lists_the_slots_own_fields_separately(cli: Cli) -> None:
    _, out, _ = cli("explain", "regularizer", "variance")
    assert "Fields of every regularizer\n  weight: " in out
    assert out.count("  weight: ") == 1


@pytest.mark.parametrize(
    ("command", "meant"),
    [(("list", "encoders"), "encoder"), (("explain", "encodr", "vit"), "encoder"), (("explain", "encoder", "vti"), "vit")],
)
def test_an_unknown_name_gets_a_suggestion(cli: Cli, command: tuple[str, ...], meant: str) -> None:
    code, out, err = cli(*command)
    assert (code, out) == (2, "")
    assert f"did you mean `{meant}`?" in err


def test_a_missing_plugin_is_an_error(cli: Cli) -> None:
    code, _, err = cli("list", "--plugins", "./nowhere.py")
    assert code == 2
    assert "nowhere.py" in err

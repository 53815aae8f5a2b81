"""YAML 1.2's scalars, and text that is no valid document."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.recipe.errors import Problem, Source
from jepakit.recipe.tree import Node
from jepakit.recipe.yaml12 import MAX_DEPTH, read_yaml, scalar


def read(text: str) -> tuple[Node | None, list[Problem]]:
    problems: list[Problem] = []
    return read_yaml(Source("text", text, Path(), is_file=False), problems), problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("100_000", 100_000),
        ("-3", -3),
        ("+3", 3),
        ("010", 10),
        ("0o17", 15),
        ("0x1f", 31),
        (".5", 0.5),
        ("5.", 5.0),
        ("1_000.5", 1000.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("", None),
        ("~", None),
        ("Null", None),
    ],
)
def test_scalars_have_their_yaml_12_types(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    ["on", "yes", "No", "off", "y", "nULL", "tRUE", "1__0", "_1", "1_", "2001-01-01", "1:30", "0b1", "e5", ".", "-", "1e", "0o8", "a"],
)
def test_other_scalars_stay_strings(text: str) -> None:
    assert scalar(text) == text


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
def test_numbers_written_by_python_read_back_unchanged(whole: int, real: float) -> None:
    assert scalar(str(whole)) == whole
    assert scalar(f"{whole:_}") == whole
    assert scalar(repr(real).replace("inf", ".inf")) == real


def test_quotes_make_strings() -> None:
    node, problems = read("""{a: "1", b: '1e-3', c: "true", d: !!str 5}""")
    assert node
    assert (node.plain(), problems) == ({"a": "1", "b": "1e-3", "c": "true", "d": "5"}, [])


def test_every_value_and_key_has_its_line_and_column() -> None:
    node, _ = read("a: 1\nb:\n  - x\n  - {c: d}\n")
    assert node
    assert [(place.line, place.column) for place in node.keys.values()] == [(1, 1), (2, 1)]
    inner = node.find(("b", 1))
    assert inner
    assert (inner.place.line, inner.place.column, inner.keys["c"].column, inner.data["c"].place.column) == (4, 5, 6, 9)  # type: ignore[index,call-overload]


def test_duplicate_keys_are_all_reported_and_the_rest_is_read() -> None:
    node, problems = read("a: 1\nb: {c: 1, c: 2}\na: 3\nd: 4\n")
    assert [(problem.place.line, problem.place.column) for problem in problems if problem.place] == [(2, 11), (3, 1)]
    assert node
    assert node.plain() == {"a": 1, "b": {"c": 1}, "d": 4}


BOMB = "a: &a [x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefghi"))


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("a: 1\n\tb: 2", 2, 1, "a tab"),
        ("a: b: c", 1, 5, "a second `: `"),
        ("a: 1\nseed:3\n", 2, 1, "this line is not `key: value`"),
        ("a: 1\nseed:3\nb: 2", 2, 1, "this line is not `key: value`"),
        ("a: [1, 2", 1, 9, "not YAML"),
        ("a: *nothing", 1, 4, "undefined alias"),
        ("a: 1\n---\nb: 2", 2, 1, "document"),
        ("a: &a [*a]", 1, 4, "an alias that contains itself"),
        ("a: !!python/object:os.system {}", 1, 4, "the tag"),
        ("a: 1\nb: \0", 2, 4, "U+0000"),
        ("a: " + "9" * 5000, 1, 4, "more than 64 bits"),
        ("a: 0x" + "f" * 40_000, 1, 4, "more than 64 bits"),
        (f"a: {2**63}", 1, 4, "more than 64 bits"),
        ('a: "\\UFFFFFFFF"', 1, None, "out of range"),
        ('a: "\\U00110000"', 1, None, "out of range"),
        ("%YAML 1." + "9" * 5000 + "\n--- 1", 1, None, "out of range"),
        ("a: 1\nb: *" + "x" * 5_000, 2, 4, "undefined alias"),
        ('a: "\\ud800"', 1, 4, "half a character"),
        ("1: a", 1, 1, "this key is not a string"),
        ("? [a]\n: b", 1, 3, "this key is not a string"),
        ("<<: {a: 1}", 1, 1, "a merge key"),
        ("a: " + "[" * (MAX_DEPTH + 5) + "]" * (MAX_DEPTH + 5), 1, None, "nested more than"),
        ("[" * 100_000, 1, None, "nested more than"),
        (BOMB, None, None, "more than 10_000 values"),
    ],
)
def test_invalid_yaml_is_one_clear_problem(text: str, line: int | None, column: int | None, says: str) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    assert says in problems[0].wrong
    assert problems[0].place
    assert line in (None, problems[0].place.line)
    assert column in (None, problems[0].place.column)
    assert len(str(problems[0])) < 700


@given(st.text(max_size=60) | st.text("a:[]{}&*!|>'\"\n\t -#?,%@`\\xu0", max_size=60))
def test_no_text_crashes_the_reader(text: str) -> None:
    node, problems = read(text)
    assert node is None or node.plain() is None or node.plain() is not Node
    assert all(str(problem) for problem in problems)


def test_a_file_that_is_not_utf8_is_refused(folder: Path, problems: Callable[..., tuple[Problem, ...]]) -> None:
    from jepakit.recipe import RecipeError, load_recipe

    (folder / "latin.yaml").write_bytes("env: 1\nnäme: é".encode() + b" \xff")
    with pytest.raises(RecipeError, match=r"^latin.yaml:2:9: .*0xff is not UTF-8"):
        load_recipe("latin.yaml")

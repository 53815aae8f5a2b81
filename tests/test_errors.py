"""Messages are printable, whatever text they quote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import UserError, listing, printable, shown, told


@given(st.text())
def test_no_message_contains_control_characters(text: str) -> None:
    assert all(char.isprintable() or char in "\n\t" for char in str(UserError(text)))
    assert len(shown(text, 20)) <= 20
    assert shown(text, 20).isprintable()
    printable(text).encode()


def test_printable_text_is_kept_and_the_rest_is_escaped() -> None:
    assert printable("ŝ_y: a\tb\nc") == "ŝ_y: a\tb\nc"
    assert shown("short") == "short"
    assert shown("a\nb\x1b\udcff") == "a\\nb\\x1b\\udcff"
    assert shown("x" * 30, 10) == "x" * 9 + "…"
    assert listing(["a", "b\n"]) == "`a`, `b\\n`"


class Silent(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "line"),
    [(KeyError("a"), "KeyError: 'a'"), (Silent(), "<exception str() failed>"), (ValueError("a\nb\x1b[31m"), "ValueError: a\\nb")],
)
def test_an_exception_becomes_one_line(error: Exception, line: str) -> None:
    assert line in told(error)
    assert told(error).isprintable()

"""A chart of braille shows where a curve is, at any width."""

from __future__ import annotations

import numpy as np
import pytest

from jepakit.report.curves.braille import LABEL, chart, number, sparkline
from jepakit.report.curves.history import Series


def dots(text: str, columns: int) -> set[tuple[int, int]]:
    """The dots of a chart as (x, y) from its lower left corner."""
    bits = {0x01: (0, 0), 0x02: (0, 1), 0x04: (0, 2), 0x40: (0, 3), 0x08: (1, 0), 0x10: (1, 1), 0x20: (1, 2), 0x80: (1, 3)}
    rows = [line[LABEL + 1 :] for line in text.splitlines()[:-1]]
    assert {len(row) for row in rows} == {columns}
    found = set()
    for row, line in enumerate(rows):
        for column, char in enumerate(line):
            found |= {(2 * column + x, 4 * (len(rows) - row) - 1 - y) for bit, (x, y) in bits.items() if ord(char) - 0x2800 & bit}
    return found


@pytest.mark.parametrize("width", [14, 40, 200])
def test_a_straight_line_runs_from_corner_to_corner(width: int) -> None:
    steps = np.arange(0.0, 1001.0, 10)
    drawn = dots(chart([Series(steps, 3 * steps)], width, 6).plain, width - LABEL - 1)
    right = 2 * (width - LABEL - 1) - 1
    assert (0, 0) in drawn
    assert (right, 23) in drawn
    assert all(abs(y - 23 * x / right) <= 1 + 23 / right for x, y in drawn)
    assert {x for x, _ in drawn} == set(range(right + 1))


def test_decades_are_equally_high_on_a_logarithmic_axis_and_zero_is_drawn() -> None:
    steps = np.arange(4.0)
    text = chart([Series(steps, np.array([1.0, 1e-4, 1e-8, 0.0]))], 30, 6, logarithmic=True).plain
    assert text.splitlines()[0].startswith("        1┤")
    assert "1.0e-12┤" in text.splitlines()[5]


def test_a_single_spike_among_many_points_is_drawn() -> None:
    values = np.zeros(5000)
    values[2500] = 1
    drawn = dots(chart([Series(np.arange(5000.0), values)], 30, 5).plain, 20)
    assert any(y == 19 for _, y in drawn)


def test_a_constant_and_a_single_point_are_drawn() -> None:
    for steps in ([5.0], [5.0, 6.0]):
        assert dots(chart([Series(np.array(steps), np.ones(len(steps)))], 30, 5).plain, 20)


def test_a_sparkline_is_no_wider_than_asked_and_ends_at_its_extremes() -> None:
    assert sparkline(np.arange(100.0), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.array([1.0, 1.0]), 8) == "▁▁"
    assert sparkline(np.array([]), 8) == ""


@pytest.mark.parametrize("value", [-1.2345e-300, 123456.7, -99999.0, 1e300, 0.0, 0.1234567, -0.001, 999.6])
def test_numbers_are_short(value: float) -> None:
    assert len(number(value)) <= 9
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.06)


def test_returns_near_a_thousand_are_written_out() -> None:
    assert [number(value) for value in (999.7, -999.6, 999.4, 1000.0, 12345.6)] == ["1,000", "-1,000", "999", "1,000", "12,346"]

"""The page on how cost grows says what its figures say, and nothing else."""

from __future__ import annotations

import json

import pytest

from benchmarks.growth import DOCS, FACTORS, exponent, own_values, page


def test_the_exponent_is_that_of_a_power_law() -> None:
    values = [2.0, 4.0, 8.0, 32.0]
    assert exponent(values, [3 * value**1.5 for value in values]) == pytest.approx(1.5)
    assert exponent(values, [7.0] * 4) == pytest.approx(0.0)


def test_each_factor_is_varied_around_the_recipes_own_value() -> None:
    own = own_values()
    for factor in FACTORS:
        assert own[factor.field] in factor.values[1:-1]
        assert sorted(factor.values, key=factor.at) == list(factor.values)


def test_the_page_is_made_from_the_recorded_figures() -> None:
    found = json.loads((DOCS / "results" / "growth.json").read_text(encoding="utf-8"))
    assert (DOCS / "growth.md").read_text(encoding="utf-8") == page(found)

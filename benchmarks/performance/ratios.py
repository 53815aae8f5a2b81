"""Ratios of what was measured in turn, with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Ratio(NamedTuple):
    """The median over the rounds, and the smallest and the largest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """``over / under``, round by round: what slows the machine in one round slows both."""
    each = [above / below for above, below in zip(over, under, strict=True)]
    return Ratio(median(each), min(each), max(each))

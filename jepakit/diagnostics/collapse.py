"""Detects collapse: the encoder maps every observation to the same embedding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PAPER_VARIANCE = 1e-7  #: Kenneweg et al., section 2 (Collapse Prevention): in a collapse the variance drops below this


def below_paper_variance(variance: float) -> bool:
    """Whether the paper would call an embedding of this ``variance`` collapsed."""
    return variance < PAPER_VARIANCE


@dataclass
class CollapseWatch:
    """Judges the embedding after each collected batch.

    Collapsed means that variance / mean square is below ``threshold``, which does not depend on the embedding's scale. The paper's own
    measure is absolute, a variance below 1e-7 (`below_paper_variance`); it is reported as well, but does not decide the verdict.

    Args:
        threshold: Smallest healthy ratio of variance to mean square.
    """

    threshold: float
    collapsed: bool = field(default=False, init=False)  #: now
    collapsed_at: int | None = field(default=None, init=False)  #: env steps at which it first collapsed

    def judge(self, env_steps: int, variance: float, mean_square: float) -> Literal["collapsed", "recovered"] | None:
        """Judge the figures after a batch; return the verdict if it has changed, else None."""
        # an embedding of zeros has no ratio, and carries no information
        collapsed = variance < self.threshold * mean_square or mean_square == 0
        changed, self.collapsed = collapsed != self.collapsed, collapsed
        if collapsed and self.collapsed_at is None:
            self.collapsed_at = env_steps
        if not changed:
            return None
        return "collapsed" if collapsed else "recovered"

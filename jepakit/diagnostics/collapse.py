"""The collapse watch: has the encoder come to map everything to one embedding?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PAPER_VARIANCE = 1e-7  #: Kenneweg et al., section 2 (Collapse Prevention): the variance drops below it in a collapse


@dataclass
class CollapseWatch:
    """Judges the embedding after each collected batch.

    Collapsed means: variance / mean square below ``threshold``, which does not depend on the embedding's scale, or the variance below the
    paper's absolute 1e-7.

    Args:
        threshold: Least healthy ratio of variance to mean square.
    """

    threshold: float
    collapsed: bool = field(default=False, init=False)  #: now
    collapsed_at: int | None = field(default=None, init=False)  #: env steps when it was first seen collapsed

    def judge(self, env_steps: int, variance: float, mean_square: float) -> Literal["collapsed", "recovered"] | None:
        """Take the figures after a batch; tells when the verdict changes."""
        collapsed = variance < PAPER_VARIANCE or variance < self.threshold * mean_square
        changed, self.collapsed = collapsed != self.collapsed, collapsed
        if collapsed and self.collapsed_at is None:
            self.collapsed_at = env_steps
        if not changed:
            return None
        return "collapsed" if collapsed else "recovered"

"""The collapse watch: has the encoder come to map everything to one embedding?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PAPER_VARIANCE = 1e-7  #: Kenneweg et al., section 2 (Collapse Prevention): the variance drops below it in a collapse


def below_paper_variance(variance: float) -> bool:
    """Whether the paper would call an embedding of this ``variance`` collapsed."""
    return variance < PAPER_VARIANCE


@dataclass
class CollapseWatch:
    """Judges the embedding after each collected batch.

    Collapsed means that variance / mean square is below ``threshold``: a measure that does not depend on the embedding's scale. The paper's
    own measure is absolute, a variance below 1e-7 (`below_paper_variance`); it is reported beside the verdict and does not decide it.

    Args:
        threshold: Least healthy ratio of variance to mean square.
    """

    threshold: float
    collapsed: bool = field(default=False, init=False)  #: now
    collapsed_at: int | None = field(default=None, init=False)  #: env steps when it was first seen collapsed

    def judge(self, env_steps: int, variance: float, mean_square: float) -> Literal["collapsed", "recovered"] | None:
        """Take the figures after a batch; tells when the verdict changes."""
        # an embedding of zeros has no ratio, and carries nothing
        collapsed = variance < self.threshold * mean_square or mean_square == 0
        changed, self.collapsed = collapsed != self.collapsed, collapsed
        if collapsed and self.collapsed_at is None:
            self.collapsed_at = env_steps
        if not changed:
            return None
        return "collapsed" if collapsed else "recovered"

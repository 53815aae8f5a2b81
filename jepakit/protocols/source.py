"""What sources of recorded data offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


class Recording(NamedTuple):
    """Episodes one after the other, each frame once.

    The steps of an episode follow one another, and its last step is done. A step's frame is at ``position``, and the frame that it led to
    at ``position + 1``.
    """

    frames: Tensor  #: uint8 [F, C, H, W]; may lie in a file
    position: Tensor  #: int64 [S]: of each step's frame
    age: Tensor  #: int64 [S]: how many frames of its episode lie before it
    action: Tensor  #: int64 [S] or float32 [S, A]
    reward: Tensor  #: float32 [S]
    terminated: Tensor  #: bool [S]
    done: Tensor  #: bool [S]: the episode ends after the step


@runtime_checkable
class Source(Protocol):
    """Recorded data that a run learns from in place of an env. Its constructor refuses what does not fit the recipe's env."""

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the data does not hold and is zero therefore, of ``action``, ``reward`` and ``terminated``."""
        ...

    def load(self) -> Recording:
        """The data, the same at each call; draws from no global generator."""
        ...

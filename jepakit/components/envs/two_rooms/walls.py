"""Where walls are, and where a step ends that meets one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 64  #: of a picture, in pixels; positions are in pixels too, x to the right and y down, with whole numbers at pixels' centres
LOW, HIGH = 4.0, SIDE - 5.0  #: the outer walls
HALF_WALL, HALF_DOOR = 1.0, 4.0
CLEARANCE = 0.1  #: how far before a wall a step ends that meets it

Place = NDArray[np.float64]  #: (x, y)


class Layout(NamedTuple):
    """Where the wall between the rooms and its door are."""

    wall: float  #: x of the wall's middle
    door: float  #: y of the door's middle

    @property
    def solid(self) -> NDArray[np.float64]:
        """All walls as closed rectangles [6, 2, 2]: for x and y, where they begin and end."""
        everywhere, inner = (-np.inf, np.inf), (self.wall - HALF_WALL, self.wall + HALF_WALL)
        return np.array(
            [
                [(-np.inf, LOW), everywhere],
                [(HIGH, np.inf), everywhere],
                [everywhere, (-np.inf, LOW)],
                [everywhere, (HIGH, np.inf)],
                [inner, (-np.inf, self.door - HALF_DOOR)],
                [inner, (self.door + HALF_DOOR, np.inf)],
            ]
        )

    def moved(self, place: Place, step: Place) -> Place:
        """Where ``step`` from ``place`` ends: straight on to ``CLEARANCE`` before the first wall that it meets, then along that wall."""
        for _ in range(3):  # a corner of two walls ends it
            share, across = self._free(place, step)
            place, step = place + step * share, step * (1 - share)
            if across is None:
                break
            step[across] = 0.0
        return place

    def _free(self, place: Place, step: Place) -> tuple[float, int | None]:
        """The share of a straight ``step`` until a wall, and the wall's normal: 0 for x, 1 for y, None if the step meets none.

        By the slab method: a line is within a rectangle while it is between the sides in x and in y.
        """
        length = float(np.hypot(*step))
        if length == 0:
            return 1.0, None
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = (self.solid - place[:, None]) / step[:, None]  # [6, 2, 2]: of the step, until it crosses each side
        first, last = shares.min(axis=-1), shares.max(axis=-1)  # [6, 2]: when it gets between the sides, and out again
        still = step == 0
        between = ((self.solid[..., 0] <= place) & (place <= self.solid[..., 1]))[:, still]
        first[:, still], last[:, still] = np.where(between, -np.inf, np.inf), np.where(between, np.inf, -np.inf)
        enters = first.max(axis=-1)
        met = (enters <= last.min(axis=-1)) & (enters >= 0) & (enters <= 1)
        if not met.any():
            return 1.0, None
        wall = int(np.where(met, enters, np.inf).argmin())
        return max(0.0, float(enters[wall]) - CLEARANCE / length), int(first[wall].argmax())

"""Draws pygame's envs without padding between their pixels: the same pixels, three times as fast."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from jepakit.components.envs.tape import Simulator

# Those of Gymnasium whose packed frames the tests compare with plain ones. Not Pendulum: pygame blends its arrow otherwise.
EXACT = {
    "gymnasium.envs.classic_control.acrobot",
    "gymnasium.envs.classic_control.cartpole",
    "gymnasium.envs.classic_control.continuous_mountain_car",
    "gymnasium.envs.classic_control.mountain_car",
    "gymnasium.envs.box2d.lunar_lander",
}
RGB = {"depth": 24, "masks": (0xFF, 0xFF00, 0xFF0000, 0)}  #: a pixel is three bytes: red, green, blue


class PackedSurfaces(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Has a simulator draw on surfaces of 24 bits a pixel.

    pygame's own have 32: more memory to fill and to flip, a conversion wherever one is copied to a canvas of 24 bits, and a copy into NumPy
    that goes byte by byte.
    """

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        self.pygame: Any = sys.modules["pygame"]
        self.plain, self.packed = _surfaces()

    def render(self) -> Any:
        """What the simulator draws."""
        # Gymnasium names no format where it makes a surface. Two threads at once are harmless: either kind holds the same pixels.
        self.pygame.Surface = self.packed
        try:
            return super().render()
        finally:
            self.pygame.Surface = self.plain


def with_packed_surfaces(simulator: Simulator, image: NDArray[np.uint8]) -> Simulator:
    """Make a simulator draw on packed surfaces where that is known to be exact, else on a packed canvas (``screen``) where it has one.

    Args:
        simulator: Any that has drawn ``image``.
        image: What it draws now. If packing changes a pixel of it, the simulator stays as it is.

    Returns:
        The simulator, possibly wrapped.
    """
    if "pygame" not in sys.modules:
        return simulator
    unwrapped: Any = simulator.unwrapped
    plain, packed = _surfaces()
    canvas: Any = getattr(unwrapped, "screen", None)
    has_canvas = isinstance(canvas, plain)
    is_exact = type(unwrapped).render.__module__ in EXACT
    packing: Any = PackedSurfaces(simulator) if is_exact else simulator
    if has_canvas:
        unwrapped.screen = packed(canvas.get_size())
    if (has_canvas or is_exact) and not np.array_equal(packing.render(), image):
        unwrapped.screen = canvas
        return simulator
    return packing


@cache
def _surfaces() -> tuple[type[Any], type[Any]]:
    """The surface of pygame, and one that has 24 bits a pixel unless a format is given."""
    from pygame import Surface  # an optional package

    class Packed(Surface):
        def __init__(self, size: Any, *how: Any, **named: Any) -> None:
            super().__init__(size, *how, **(named if how or named else RGB))

    return Surface, Packed

"""Draws pygame's envs without padding between their pixels and with one copy in place of four: the same pixels, up to ten times as fast."""

from __future__ import annotations

import sys
import threading
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
    """Has a simulator draw on a surface of 24 bits a pixel, and takes the picture as soon as it is drawn.

    pygame's own surfaces have 32 bits: more memory to fill, and a copy into NumPy that goes byte by byte. When a picture is done, Gymnasium
    turns it upside down onto a second surface, copies that to a third, and copies the third into NumPy. One copy does all of it.
    """

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        self.pygame: Any = sys.modules["pygame"]
        self.plain, self.packed = _surfaces()
        self.flip, self.stopping = _flips()

    def render(self) -> Any:
        """What the simulator draws."""
        # Gymnasium names no format where it makes a surface, and offers no way to stop before its copies. Another thread may draw
        # meanwhile: either kind of surface holds the same pixels, and only a thread that draws here is stopped.
        self.pygame.Surface, self.pygame.transform.flip = self.packed, self.stopping
        here.draws = True
        try:
            return super().render()
        except Drawn as drawn:
            return np.array(self.pygame.surfarray.pixels3d(drawn.surface)[:, ::-1]).transpose(1, 0, 2)
        finally:
            here.draws = False
            self.pygame.Surface, self.pygame.transform.flip = self.plain, self.flip
            vars(self.unwrapped).pop("surf", None)  # the next simulator's surface takes its memory while the cache still holds that


here = threading.local()  #: ``draws``: whether this thread is inside `PackedSurfaces.render`


class Drawn(Exception):
    """A picture is done, upside down, on ``surface``."""

    def __init__(self, surface: Any) -> None:
        super().__init__()
        self.surface = surface


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
    has_canvas = isinstance(canvas, plain) and type(unwrapped).__module__.startswith("gymnasium.envs.")  # others may rely on its format
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


@cache
def _flips() -> tuple[Any, Any]:
    """The ``flip`` of pygame, and one that stops a thread that draws here where Gymnasium's last step begins."""
    from pygame.transform import flip  # an optional package

    def stopping(surface: Any, flip_x: bool, flip_y: bool) -> Any:
        if getattr(here, "draws", False) and (flip_x, flip_y) == (False, True):
            raise Drawn(surface)
        return flip(surface, flip_x, flip_y)

    return flip, stopping

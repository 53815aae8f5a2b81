"""What a verb imports before it works."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import torch, torchrl and all components at the end of this block, with the garbage collector paused.

    Imports make a million objects that stay. The collector would look through them again and again, for a sixth of a verb's start.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
        from jepakit import registry

        registry.load_builtins()
    finally:
        if paused:
            gc.enable()

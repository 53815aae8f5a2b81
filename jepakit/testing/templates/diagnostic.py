"""A diagnostic of your own: figures about what the agent has learned, on which nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepakit import register

if TYPE_CHECKING:
    from torch import Tensor


@register("diagnostic", "my_component")
class MyComponent:
    """The largest entry of s_x.

    ``__call__`` may ask for more than s_x, by name: see `jepakit.protocols.LOOKS`. Only what it names is computed.

    Args:
        absolute: Whether signs are ignored.
    """

    def __init__(self, *, absolute: bool = True) -> None:
        self.absolute = absolute

    def __call__(self, s_x: Tensor) -> dict[str, Tensor]:
        """``s_x`` [M, D] -> figures by the name of their metric, each a number or a short list."""
        return {"my_component/largest": (s_x.abs() if self.absolute else s_x).max()}

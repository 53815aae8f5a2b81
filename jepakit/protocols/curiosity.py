"""What a curiosity offers: how surprising a step was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

#: What a curiosity may ask for by parameter name, of M steps.
STEP_INPUTS = {
    "pixels": "uint8 [M, K, C, H, W]: x, the stack before the step, without augmentations",
    "pixels_next": "uint8 [M, K, C, H, W]: the stack after it, also at an episode's end",
    "action": "int64 [M] or float [M, A]: the action taken at x",
    "distance": "float [M]: L_JEPA's distance of ŝ_y and s_y, one step ahead; only for `surprise`",
}


@runtime_checkable
class Curiosity(Protocol):
    """Says how surprising steps were. The run scales that and adds it to the rewards that the algorithm learns from.

    ``surprise`` names the `STEP_INPUTS` that it takes. It is called once for every collected step, before the updates on it, without
    gradient and in eval mode; it draws no random numbers.
    """

    def surprise(self, **inputs: Tensor) -> Tensor:
        """The `STEP_INPUTS` that it names -> float [M], at least 0."""
        ...


@runtime_checkable
class LearnsSurprise(Curiosity, Protocol):
    """A `Curiosity` with weights, an ``nn.Module``: its loss is a term of Eq. 3, on the windows of each minibatch."""

    def loss(self, **inputs: Tensor) -> Tensor:
        """The `STEP_INPUTS` that it names -> scalar to minimise."""
        ...

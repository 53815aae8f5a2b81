"""The terms of Eq. 3 other than the algorithm's losses: L_JEPA, regularizers and auxiliary terms."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from jepakit.components.shared import ranks
from jepakit.protocols import ACTION, INPUTS, MASK, REWARD, TERMINATED, LossTerm, Objective, Predictor, Projector, Target, Term


@dataclass(frozen=True)
class JEPA:
    """The parts of L_JEPA."""

    target: Target
    followed: nn.Module  #: the module that the target follows: the encoder, followed by the projector if there is one
    predictor: Predictor
    objective: Objective
    weight: float  #: of L_JEPA in Eq. 3
    horizon: int  #: H, env steps predicted ahead
    y: Literal["stack", "newest", "same"]  #: whether s_y encodes the next stack, its newest frame alone, or another view of x
    s_y_per: Literal["update", "batch"] = "update"  #: whether s_y is encoded at each update, or once for a collected batch
    projector: Projector | None = None  #: between ŝ_y and the objective; the target holds its own

    def seen(self, stacks: Tensor) -> Tensor:
        """The target's input from the next ``stacks`` [B, H, K, C, H, W], in the same shape."""
        return stacks[:, :, -1:].expand_as(stacks) if self.y == "newest" else stacks

    def embed_y(self, pixels: Tensor) -> Tensor:
        """s_y of stacks ``pixels`` [B, H, K, C, H, W], by the target as it is now: fp32 [B, H, D], or [B, H, P] behind a projector."""
        return self.target(self.seen(pixels)).float()

    def predict(self, s_x: Tensor, actions: Tensor) -> Tensor:
        """ŝ_y[1..H] from ``s_x`` [B, D] and ``actions`` [B, H, ...]: [B, H, D], or [B, H, P] behind a projector."""
        return self.projected(self.unrolled(s_x, actions))

    def unrolled(self, s_x: Tensor, actions: Tensor) -> Tensor:
        """The predictor's own outputs for ``s_x`` [B, D] and ``actions`` [B, H, ...]: [B, H, D], before any projector."""
        s_y_hat = unroll(self.predictor, s_x, actions)
        expect_shape("predictor", s_y_hat, (len(s_x), self.horizon, s_x.shape[-1]), self.predictor)
        return s_y_hat

    def projected(self, s_y_hat: Tensor) -> Tensor:
        """[*, D] -> [*, P]; unchanged without a projector."""
        return self.projector(s_y_hat) if self.projector else s_y_hat


class ProjectedEncoder(nn.Module):
    """An encoder followed by a projector. The projector runs in fp32, as it does on ŝ_y."""

    def __init__(self, encoder: nn.Module, projector: Projector) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> [*, P]."""
        embedded = self.encoder(pixels)
        with torch.autocast(embedded.device.type, enabled=False):
            return self.projector(embedded.float())


class Headed(nn.Module):
    """A projector, if there is one, and behind it the prediction head, which the target does not have."""

    def __init__(self, projector: Projector | None, head: Projector) -> None:
        super().__init__()
        self.projector = projector
        self.head = head

    def forward(self, s_y_hat: Tensor) -> Tensor:
        """[*, D] -> [*, P]."""
        return self.head(self.projector(s_y_hat) if self.projector else s_y_hat)


@dataclass(frozen=True)
class WeightedTerm:
    """A regularizer or an auxiliary term, its weight in Eq. 3, and the `INPUTS` that its ``forward`` names.

    Raises:
        ValueError: ``forward`` names something that is not in `INPUTS`.
    """

    loss: LossTerm
    weight: float
    inputs: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        call = self.loss.forward if isinstance(self.loss, nn.Module) else self.loss
        inputs = tuple(inspect.signature(call).parameters)
        unknown = [name for name in inputs if name not in INPUTS]
        if unknown:
            raise ValueError(f"its forward asks for `{unknown[0]}`; a minibatch offers {', '.join(INPUTS)}")
        object.__setattr__(self, "inputs", inputs)


def among_others(terms: Mapping[str, Term]) -> dict[str, Term]:
    """An algorithm's losses, to which other terms of Eq. 3 can be added by their names.

    Raises:
        ValueError: A loss has the name of one of these, which would replace it.
    """
    if taken := [name for name in terms if name in ("jepa", "curiosity", "total") or name.startswith(("regularizer/", "auxiliary/"))]:
        raise ValueError(f"the algorithm names a loss `{taken[0]}`, as another term of Eq. 3 is: name it otherwise")
    return dict(terms)


def averaged(terms: Mapping[str, Term]) -> dict[str, Term]:
    """The terms with each loss as its mean over ranks, so that all ranks agree on it; gradients are still of this rank's own."""
    if ranks.size() == 1:
        return dict(terms)
    losses = ranks.averaged(torch.stack([term.loss.float() for term in terms.values()]))
    return {name: term._replace(loss=loss) for (name, term), loss in zip(terms.items(), losses.unbind(), strict=True)}


def unroll(predictor: Predictor, s_x: Tensor, actions: Tensor) -> Tensor:
    """ŝ_y[1..H] from ``s_x`` [B, D] and ``actions`` [B, H, ...], feeding each prediction back in: [B, H, D]."""
    if hasattr(predictor, "unroll"):
        return predictor.unroll(s_x, actions)
    predictions = []
    for action in actions.unbind(dim=1):
        s_y_hat = predictor(s_x, action)
        expect_shape("predictor", s_y_hat, s_x.shape, predictor)
        predictions.append(s_y_hat)
        s_x = s_y_hat
    return torch.stack(predictions, dim=1)


def steps_ahead(window: TensorDictBase, s_x: Tensor, unrolled: Tensor) -> dict[str, Tensor]:
    """The `INPUTS` about all steps of a window [B, H+1] that lie in its episode: ``s_x`` [B, D] and the predictor's outputs [B, H, D]."""
    starts = torch.cat((s_x[:, None], unrolled[:, :-1]), dim=1)  # [B, H, D]
    inside = window[MASK][:, 1:]
    at = {f"s_hat_{key}": window[key][:, :-1][inside] for key in (ACTION, REWARD, TERMINATED)}
    return {"s_hat": starts[inside]} | at


class Misshapen(ValueError):
    """A component's output does not have the shape that its slot promises."""

    def __init__(self, message: str, component: object) -> None:
        super().__init__(message)
        self.component = component


def expect_shape(what: str, output: object, shape: tuple[int, ...], component: object) -> None:
    """Refuse a component's output unless it is a tensor of ``shape``: broadcasting would train on silently and wrongly.

    Args:
        what: Names the component in the message.
        output: The component's output.
        shape: The shape that its slot promises.
        component: The component itself.

    Raises:
        Misshapen: ``output`` is not a tensor, or has another shape.
    """
    if not isinstance(output, Tensor):
        raise Misshapen(f"the {what} returned {type(output).__name__} where a tensor {list(shape)} was expected", component)
    if output.shape != shape:
        raise Misshapen(f"the {what} returned {list(output.shape)} where {list(shape)} was expected", component)

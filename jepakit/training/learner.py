"""The learner: from a collected batch to the optimizer's steps on Eq. 3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from jepakit.diagnostics.embedding import Spread, spread
from jepakit.protocols import ACTION, MASK, PIXELS, S_X, Experience, Objective, OnPolicyAlgorithm, Predictor, Regularizer, Target, Term
from jepakit.training.experience import Rollout
from jepakit.training.hardware import Hardware

Metrics = dict[str, float]

BF16_TRUSTED = 1e-3  #: variance / mean square, above which bf16's rounding (some 1e-5) does not matter


@dataclass(frozen=True)
class JEPA:
    """The parts of L_JEPA."""

    target: Target
    predictor: Predictor
    objective: Objective
    weight: float  #: of L_JEPA in Eq. 3
    horizon: int  #: H, env steps predicted ahead
    y: Literal["stack", "newest"]  #: whether s_y encodes the next stack or its newest frame alone

    def seen(self, stacks: Tensor) -> Tensor:
        """What the target encodes of the next ``stacks`` [B, H, K, C, H, W], in the same shape, which is the encoder's own."""
        return stacks if self.y == "stack" else stacks[:, :, -1:].expand_as(stacks)


@dataclass(frozen=True)
class WeightedRegularizer:
    """A regularizer and its weight in Eq. 3."""

    regularizer: Regularizer
    weight: float


class Learner:
    """Owns all that is trained, and takes the optimizer's steps on Eq. 3.

    L = w_J · L_JEPA + L_actor + L_critic + Σ w_R · L_reg (and the algorithm's entropy bonus). The online encoder runs once a minibatch
    for all of them. ∇ off means that the RL terms see s_x detached.

    Source: Kenneweg et al., JEPA for RL, Eq. 3 and section 2 (Gradient Propagation).

    Args:
        encoder: V(θ, x).
        embedding_width: D, the width of its s_x.
        jepa: Target, predictor and objective, or None for no L_JEPA.
        regularizers: By kind.
        algorithm: The RL side.
        hardware: Device and precision of the encoders; heads, predictor and losses are in fp32 always.
        lr: Adam's learning rate at the start.
        lr_schedule: How it goes on over the run's env steps: to 0 in a line or a half cosine, or not at all.
        eps: Adam's ε.
        max_grad_norm: The norm of all gradients together is clipped to it; None for no clipping.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        embedding_width: int,
        jepa: JEPA | None,
        regularizers: Mapping[str, WeightedRegularizer],
        algorithm: OnPolicyAlgorithm,
        hardware: Hardware,
        lr: float,
        lr_schedule: Literal["linear", "constant", "cosine"],
        eps: float,
        max_grad_norm: float | None,
    ) -> None:
        self.encoder = encoder
        self.embedding_width = embedding_width
        self.jepa = jepa
        self.regularizers = regularizers
        self.algorithm = algorithm
        self.hardware = hardware
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.max_grad_norm = max_grad_norm or math.inf
        self.updates = 0  #: optimizer steps taken
        self.experience: Experience = Rollout(algorithm, jepa.horizon if jepa else 1, self.embed)

        trained: dict[str, object] = {"encoder": encoder}
        if jepa:
            trained |= {"predictor": jepa.predictor, "objective": jepa.objective}
        trained |= {f"regularizer_{kind}": weighted.regularizer for kind, weighted in regularizers.items()}
        trained |= {"algorithm": algorithm}
        self.trained = _modules(trained)
        self.parts = _modules(trained | ({"target": jepa.target} if jepa else {}))  #: all that a checkpoint must hold
        self.optimizer = torch.optim.Adam([p for p in self.trained.parameters() if p.requires_grad], lr=lr, eps=eps, fused=True)

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> Tensor:
        """The online encoder as acting uses it: uint8 [*, K, C, H, W] -> s_x [*, D], fp32, no gradient."""
        with self.hardware.autocast():
            return self.encoder(pixels).float()

    def learn(self, batch: TensorDictBase, progress: float) -> Metrics:
        """One round of updates on a collected ``batch`` [N, T]; ``progress`` in [0, 1) drives the schedules.

        Returns:
            Means over the round's updates, by metric name, but for ``embedding/variance`` and ``embedding/mean_square`` (at the last
            update) and ``embedding/variance_min`` (the least of the round).

        Raises:
            FloatingPointError: A term of the loss, or the gradient, is not finite; no step was taken with it.
            ValueError: A component's output has not the shape that its slot promises.
        """
        self._anneal(progress)
        self.experience.extend(batch.to(self.hardware.device))
        rows = [self.update(window) for window in self.experience.windows()]
        metrics = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        summary = {name: values.mean().item() for name, values in metrics.items()}
        for name in ("embedding/variance", "embedding/mean_square"):
            summary[name] = metrics[name][-1].item()
        summary["embedding/variance_min"] = metrics["embedding/variance"].min().item()
        return summary

    def update(self, window: TensorDictBase) -> dict[str, Tensor]:
        """One optimizer step on the windows [B, H+1]; returns the step's metrics as scalars still on the device."""
        terms, metrics = self.losses(window)
        total = torch.stack([term.weight * term.loss for term in terms.values()]).sum()
        losses = {f"loss/{name}": term.loss for name, term in terms.items()}
        _refuse_non_finite(total, losses)
        self.optimizer.zero_grad()
        total.backward()
        metrics["grad_norm"] = nn.utils.clip_grad_norm_(self.trained.parameters(), self.max_grad_norm)
        _refuse_non_finite(metrics["grad_norm"], {"grad_norm": metrics["grad_norm"]})
        self.optimizer.step()
        if self.jepa:
            self.jepa.target.update(self.encoder)
        self.updates += 1
        metrics |= losses | {"loss/total": total}
        return {name: value.detach() for name, value in metrics.items()}

    def losses(self, window: TensorDictBase) -> tuple[dict[str, Term], dict[str, Tensor]]:
        """The terms of Eq. 3 for the windows [B, H+1], and further figures to log."""
        pixels = window[PIXELS]  # [B, H+1, K, C, H, W]
        with self.hardware.autocast():
            s_x = self.encoder(pixels[:, 0]).float()  # [B, D]
        variance, mean_square = self._spread(s_x, pixels[:, 0])

        minibatch = window[:, 0].set(S_X, s_x if self.algorithm.gradients_to_encoder else s_x.detach())
        rl_terms, metrics = self.algorithm.losses(minibatch)
        terms = dict(rl_terms)
        if self.jepa:
            with self.hardware.autocast():
                s_y = self.jepa.target(self.jepa.seen(pixels[:, 1:])).float()  # [B, H, D]
            s_y_hat = unroll(self.jepa.predictor, s_x, window[ACTION][:, :-1])  # [B, H, D]
            expect_shape("predictor", s_y_hat, s_y.shape)
            mask = window[MASK][:, 1:]  # [B, H]
            distances = self.jepa.objective(s_y_hat, s_y)
            expect_shape("objective", distances, mask.shape)
            terms["jepa"] = Term(self.jepa.weight, distances[mask].mean())
        for kind, weighted in self.regularizers.items():
            loss = weighted.regularizer(s_x)
            expect_shape("regularizer", loss, ())
            terms[f"regularizer/{kind}"] = Term(weighted.weight, loss)
        return terms, {**metrics, "embedding/variance": variance, "embedding/mean_square": mean_square}

    def _spread(self, s_x: Tensor, pixels: Tensor) -> Spread:
        """Variance and mean square of ``s_x`` [B, D]; where bf16's rounding would show, of the same ``pixels`` encoded in fp32."""
        found = spread(s_x)
        if self.hardware.precision == "bf16" and found.variance < BF16_TRUSTED * found.mean_square:
            with torch.no_grad():
                found = spread(self.encoder(pixels))
        return found

    def _anneal(self, progress: float) -> None:
        factor = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}[self.lr_schedule]
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor
        self.algorithm.anneal(progress)


def unroll(predictor: Predictor, s_x: Tensor, actions: Tensor) -> Tensor:
    """ŝ_y[1..H] from ``s_x`` [B, D] and ``actions`` [B, H, ...], feeding each prediction back in: [B, H, D]."""
    if hasattr(predictor, "unroll"):
        return predictor.unroll(s_x, actions)
    predictions = []
    for action in actions.unbind(dim=1):
        s_x = predictor(s_x, action)
        predictions.append(s_x)
    return torch.stack(predictions, dim=1)


def _modules(parts: Mapping[str, object]) -> nn.ModuleDict:
    """Those parts that are modules: a component without parameters may be a plain class."""
    return nn.ModuleDict({name: part for name, part in parts.items() if isinstance(part, nn.Module)})


def _refuse_non_finite(total: Tensor, parts: Mapping[str, Tensor]) -> None:
    """Before the step: after it every weight is bad, and with the next update every term."""
    if not total.isfinite():
        bad = [name for name, value in parts.items() if not value.isfinite()]
        raise FloatingPointError(f"not finite: {', '.join(bad) or 'the sum of all terms'}")


def expect_shape(what: str, output: object, shape: tuple[int, ...]) -> None:
    """What a component returned is a tensor of ``shape``: broadcasting would train on, silently and wrongly.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(output, Tensor):
        raise ValueError(f"the {what} returned {type(output).__name__} where a tensor {list(shape)} was expected")
    if output.shape != shape:
        raise ValueError(f"the {what} returned {list(output.shape)} where {list(shape)} was expected")

"""Finds what is not finite: an embedding, a weight, a loss term or its gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from jepakit.protocols import ACTION, PIXELS, REWARD, Minibatch, Term


class BadEmbedding(FloatingPointError):
    """The encoder's output is not finite."""


class BadWeights(FloatingPointError):
    """A weight is not finite, so no later result can be."""


def expect_finite_embedding(s_x: Tensor) -> None:
    """Refuse an ``s_x`` [*, D] that is not finite; torch's error further on would not name it.

    Raises:
        BadEmbedding: ``s_x`` is not finite.
    """
    if not s_x.isfinite().all():
        raise BadEmbedding("s_x, the encoder's output, is not finite")


def expect_finite_weights(module: nn.Module) -> None:
    """Refuse a ``module`` with a parameter that is not finite.

    Raises:
        BadWeights: A parameter is not finite; the message names it.
    """
    for name, parameter in module.named_parameters():
        if not parameter.isfinite().all():
            raise BadWeights(f"`{name}` is no longer finite, although its gradient was: the learning rate may be too high")


def bad_terms(terms: Mapping[str, Term], parameters: Sequence[nn.Parameter]) -> list[str]:
    """The terms of Eq. 3 that are not finite, as ``loss/<name>``; else those with a bad gradient, as ``the gradient of loss/<name>``."""
    found = [f"loss/{name}" for name, term in terms.items() if not term.loss.isfinite()]
    if found:
        return found
    for name, term in terms.items():
        if term.loss.requires_grad:
            gradients = torch.autograd.grad(term.loss, parameters, allow_unused=True, retain_graph=True)
            if not all(gradient.isfinite().all() for gradient in gradients if gradient is not None):
                found.append(f"the gradient of loss/{name}")
    return found


def figures(minibatch: Minibatch) -> str:
    """The ranges of a minibatch's inputs, as text."""
    window = minibatch.window
    ranges = [(name, window[name]) for name in (PIXELS, ACTION, REWARD)]
    return ", ".join(f"{name} {_extent(values)}" for name, values in ranges)


def _extent(values: Tensor) -> str:
    low, high = values.min().item(), values.max().item()
    return f"{low:g} to {high:g}"

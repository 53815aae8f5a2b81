"""Regression from embeddings to state variables, linear and by a small MLP, and its R²."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

ROUNDING = 1e-6  #: what varies by less than this share of its size is constant: fp32 rounding leaves some 1e-7
STRENGTHS = tuple(10.0**power for power in range(-6, 3))  #: the ridge penalties to choose from, per observation

# The small MLP.
HIDDEN = 128
LR = 1e-3
MINIBATCH = 256
MOST_UPDATES = 5_000
CHECK_EVERY = 100  #: updates between looks at the validation error
PATIENCE = 8  #: looks without a better one, after which it stops

Readout = Callable[[Tensor], Tensor]  #: embeddings [M, D] -> state variables [M, S]


class Pairs(NamedTuple):
    """Embeddings and the true state at the same observations."""

    embedding: Tensor  #: float [M, D]
    state: Tensor  #: float64 [M, S]

    def where(self, chosen: Tensor) -> Pairs:
        """Those that ``chosen`` [M] names."""
        return Pairs(self.embedding[chosen], self.state[chosen])


class Scale(NamedTuple):
    """Mean and standard deviation of each column."""

    mean: Tensor
    std: Tensor  #: infinite for a constant column, which becomes zero

    def standardised(self, values: Tensor) -> Tensor:
        """``values`` [M, D] with mean 0 and variance 1, in float64."""
        return (values.double() - self.mean) / self.std

    def restored(self, values: Tensor) -> Tensor:
        """The inverse of `standardised`; a constant column gets its mean."""
        return torch.where(self.std.isinf(), self.mean, values * self.std + self.mean)


def scale_of(values: Tensor) -> Scale:
    """The scale of ``values`` [M, D]."""
    values = values.double()
    std = values.std(dim=0, correction=0)
    constant = std <= ROUNDING * values.square().mean(dim=0).sqrt()
    return Scale(values.mean(dim=0), torch.where(constant, torch.inf, std))


def r_squared(predicted: Tensor, true: Tensor) -> list[float | None]:
    """R² of each column of ``predicted`` for ``true``, both [M, S]: 1 - Σ(true - predicted)² / Σ(true - mean)².

    1 is a perfect prediction, 0 one no better than the mean; it has no lower bound. None: the true column is constant.
    """
    if len(true) == 0:
        return [None] * true.shape[1]
    true = true.double()
    error = (true - predicted).square().sum(dim=0)
    spread = (true - true.mean(dim=0)).square().sum(dim=0)
    constant = scale_of(true).std.isinf()
    return [None if constant[n] else 1 - float(error[n] / spread[n]) for n in range(true.shape[1])]


def fit_linear(pairs: Pairs, fold: Tensor) -> Readout:
    """Ridge regression in closed form. The penalty is chosen for each variable by cross-validation over the folds.

    Args:
        pairs: M observations.
        fold: The number of each one's fold, [M]: at least two folds.
    """
    x, y = scale_of(pairs.embedding), scale_of(pairs.state)
    inputs, targets = x.standardised(pairs.embedding), y.standardised(pairs.state)
    errors = torch.zeros(len(STRENGTHS), targets.shape[1], dtype=torch.float64)
    for number in fold.unique():
        left_out = fold == number
        candidates = _ridge(inputs[~left_out], targets[~left_out])
        errors += (inputs[left_out] @ candidates - targets[left_out]).square().sum(dim=1)
    best = errors.argmin(dim=0)  # [S]
    weights = _ridge(inputs, targets)[best, :, torch.arange(len(best))].T  # [D, S]
    return lambda embedding: y.restored(x.standardised(embedding) @ weights)


def _ridge(x: Tensor, y: Tensor) -> Tensor:
    """The weights under each of `STRENGTHS`: [strengths, D, S]."""
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    aligned = vectors.T @ (x.T @ y / len(x))
    return torch.stack([vectors @ (aligned / (values.clamp(min=0) + strength)[:, None]) for strength in STRENGTHS])


def fit_mlp(fit: Pairs, validation: Pairs, seed: int) -> Readout:
    """One hidden layer of `HIDDEN` units, trained by Adam on the standardised variables until ``validation`` gets no better.

    It starts at the mean, so an embedding that tells nothing gives an R² near 0. It draws from ``seed`` alone.
    """
    random = torch.Generator().manual_seed(seed)
    x, y = scale_of(fit.embedding), scale_of(fit.state)
    inputs, targets = x.standardised(fit.embedding).float(), y.standardised(fit.state).float()
    held, wanted = x.standardised(validation.embedding).float(), y.standardised(validation.state).float()
    network = _mlp(inputs.shape[1], targets.shape[1], random)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    best, least, since = copy.deepcopy(network.state_dict()), _error(network, held, wanted), 0
    for update in range(1, MOST_UPDATES + 1):
        drawn = torch.randint(len(inputs), (min(MINIBATCH, len(inputs)),), generator=random)
        optimizer.zero_grad()
        with torch.enable_grad():
            (network(inputs[drawn]) - targets[drawn]).square().mean().backward()
        optimizer.step()
        if update % CHECK_EVERY == 0:
            error, since = _error(network, held, wanted), since + 1
            if error < least:
                best, least, since = copy.deepcopy(network.state_dict()), error, 0
            if since == PATIENCE:
                break
    network.load_state_dict(best)

    @torch.no_grad()
    def read(embedding: Tensor) -> Tensor:
        return y.restored(network(x.standardised(embedding).float()).double())

    return read


def _mlp(width: int, outputs: int, random: torch.Generator) -> nn.Sequential:
    first, last = (nn.utils.skip_init(nn.Linear, *sizes) for sizes in ((width, HIDDEN), (HIDDEN, outputs)))
    nn.init.kaiming_uniform_(first.weight, nonlinearity="relu", generator=random)
    for zero in (first.bias, last.weight, last.bias):
        nn.init.zeros_(zero)
    return nn.Sequential(first, nn.ReLU(), last)


@torch.no_grad()
def _error(network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    return float((network(inputs) - targets).square().mean())

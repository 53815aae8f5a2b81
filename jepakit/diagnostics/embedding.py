"""Figures that show whether embeddings carry information: variance, mean square, effective rank."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from jepakit.diagnostics.finite import expect_finite_embedding


class Spread(NamedTuple):
    """Spread and scale of a batch of embeddings, both fp32 scalars."""

    variance: Tensor  #: mean over dimensions of the batch variance: the paper's indicator of collapse
    mean_square: Tensor  #: mean square over batch and dimensions: makes the variance comparable across scales


@torch.no_grad()
def spread(s_x: Tensor) -> Spread:
    """Mean batch variance and mean square of ``s_x`` [B, D], in fp32 (bf16 is wrong for small variances).

    Source: Kenneweg et al., JEPA for RL, section 2 (Collapse Prevention).
    """
    s_x = s_x.float()
    return Spread(s_x.var(dim=0).mean(), s_x.square().mean())


@torch.no_grad()
def effective_rank(embeddings: Tensor) -> Tensor:
    """RankMe: exp(-Σ p log p), p = σ / Σσ + 1e-7, of the uncentred ``embeddings`` [M, D] with M > D; between 1 and D.

    Read it beside the variance: a collapsed encoder's rounding noise can look full rank.

    Source: Garrido et al. 2023, RankMe, Eqs. 1-2.
    """
    singular_values = torch.linalg.svdvals(embeddings.float())
    p = singular_values / singular_values.sum().clamp(min=torch.finfo(torch.float32).tiny) + 1e-7  # a dead encoder's are all zero
    return (-(p * p.log()).sum()).exp()


@contextmanager
def only_looking(parts: nn.Module) -> Iterator[None]:
    """No gradient, and eval mode: measuring must not change batch statistics or draw random numbers for dropout.

    Afterwards each module has its own mode again: of a component's own modules some may always be in eval mode.
    """
    modes = {module: module.training for module in parts.modules()}
    parts.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


class EmbeddingProbe:
    """Encodes 4·D recent observations in fp32 and measures their embeddings, once every 4·D env steps.

    Args:
        encoder: The online encoder.
        width: D.
        device: The encoder's device; only the measured stacks are moved there.
        ranks: Over how many processes the batches are spread; each keeps its share of the observations.
        gathered: Joins the embeddings [M, D] of all of them.
    """

    def __init__(
        self, encoder: nn.Module, width: int, device: str = "cpu", ranks: int = 1, gathered: Callable[[Tensor], Tensor] = lambda rows: rows
    ) -> None:
        self.encoder = encoder
        self.device = device
        self.every = 4 * width  #: env steps
        self.rows = -(-self.every // ranks)  #: observations to keep here
        self.ranks = ranks
        self.gathered = gathered
        self.kept: deque[Tensor] = deque()  #: of the newest batches, joined only when needed: 4·D stacks may be hundreds of megabytes
        self.stacks = 0  #: in ``kept``

    @property
    def recent(self) -> Tensor | None:
        """uint8 [<= 4·D, K, C, H, W], kept because a batch may be smaller than 4·D; None before the first batch."""
        return torch.cat((*self.kept,))[-self.rows :] if self.kept else None

    @recent.setter
    def recent(self, stacks: Tensor | None) -> None:
        self.kept = deque(() if stacks is None else (stacks,))
        self.stacks = sum(map(len, self.kept))

    def measure(self, pixels: Tensor, env_steps: int) -> dict[str, float]:
        """Take a batch's ``pixels`` [M, K, C, H, W], which ends at ``env_steps`` of the run, and measure if it is due.

        Returns:
            ``embedding/rank`` (the effective rank), ``embedding/variance`` and ``embedding/mean_square``; empty if not due.

        Raises:
            BadEmbedding: An embedding is not finite.
        """
        spaced = pixels[torch.linspace(0, len(pixels) - 1, min(self.rows, len(pixels))).long()].to(self.device)
        self.kept.append(spaced)
        self.stacks += len(spaced)
        while self.stacks - len(self.kept[0]) >= self.rows:
            self.stacks -= len(self.kept.popleft())
        if env_steps // self.every == (env_steps - len(pixels) * self.ranks) // self.every:
            return {}
        with only_looking(self.encoder):
            embeddings = self.gathered(torch.cat([self.encoder(chunk) for chunk in cast(Tensor, self.recent).split(256)]))
        expect_finite_embedding(embeddings)
        figures = spread(embeddings)._asdict() | {"rank": effective_rank(embeddings)}
        return {f"embedding/{name}": value.item() for name, value in figures.items()}

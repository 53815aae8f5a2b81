"""What may be looked at after a round of updates: `LOOKS`, each computed when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from time import perf_counter
from typing import Any, cast

import torch
from torch import Tensor

from jepakit.components.shared import ranks
from jepakit.protocols import ACTION, MASK, PIXELS, S_X, Minibatch, ShowsPolicy, ShowsValues, Term
from jepakit.training.learner import Learner
from jepakit.training.terms import JEPA

MOST_OBSERVATIONS = 1_024
WINDOWS = 256  #: windows that are sampled; fewer if a rollout has fewer steps
SAMPLED = ("inside", "s_y", "s_y_copied", "s_y_hat", "values", "value_targets")  #: looks at these windows, of which each rank has its own


class Absent(Exception):
    """The recipe has no such thing: no JEPA, or an algorithm that does not show it."""


class Witness:
    """Watches one update of a round: the gradients of its terms, and the weights around its step. Changes nothing.

    Args:
        learner: Whose updates it watches, from now until `leave`. If an update is skipped, it watches the next.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.gradients: dict[str, dict[str, Tensor]] | None = {}  #: None if a term's graph cannot be walked twice
        self.before: dict[str, Tensor] = {}
        self.after: dict[str, Tensor] = {}
        self.seconds = 0.0
        learner.witnesses.append(self._before)
        learner.followers.append(self._after)

    def leave(self) -> None:
        """Stop watching."""
        self.learner.witnesses.remove(self._before)
        self.learner.followers.remove(self._after)

    def _before(self, terms: Mapping[str, Term]) -> None:
        if self.after:
            return
        started = perf_counter()
        named = {name: parameter for name, parameter in self.learner.trained.named_parameters() if parameter.requires_grad}
        try:
            self.gradients = {
                term: _gradient(weight * loss, named) for term, (weight, loss) in terms.items() if weight and loss.requires_grad
            }
        except RuntimeError:
            self.gradients = None
        self.before = {name: parameter.detach().clone() for name, parameter in named.items()}
        self.seconds += perf_counter() - started

    def _after(self) -> None:
        if not self.after:
            now = self.learner.trained.named_parameters()
            self.after = {name: parameter.detach().clone() for name, parameter in now if name in self.before}


def _gradient(loss: Tensor, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of ``loss`` by parameter, where it has one; its graph stays."""
    found = torch.autograd.grad(loss, [*named.values()], retain_graph=True, allow_unused=True)
    gradients = {name: gradient for name, gradient in zip(named, found, strict=True) if gradient is not None}
    ranks.average([*gradients.values()])
    return gradients


class Look:
    """One look at the learner after a round of updates: ``look[name]`` is one of `LOOKS`. Use it inside `quietly`.

    Args:
        learner: The learner.
        recent: uint8 [M, K, C, H, W], recent observations; of every rank its own.
        witness: Of an update of this round.
        windows: How many windows to sample, at most.
    """

    def __init__(self, learner: Learner, recent: Tensor, witness: Witness, windows: int = WINDOWS) -> None:
        self._learner = learner
        self._count = windows
        self._recent = ranks.gathered(recent)
        self._by_term = witness.gradients
        self._weights_before = witness.before
        self._weights_after = witness.after

    def __getitem__(self, name: str) -> Any:
        """Compute it, unless it is there already.

        Raises:
            Absent: The recipe does not have it.
        """
        found = getattr(self, f"_{name}")
        return ranks.gathered(found) if name in SAMPLED else found

    @property
    def _gradients(self) -> Mapping[str, Mapping[str, Tensor]]:
        if self._by_term is None:
            raise Absent
        return self._by_term

    def _embed(self, pixels: Tensor) -> Tensor:
        return torch.cat([self._learner.encoder(chunk).float() for chunk in pixels.split(256)])

    @cached_property
    def _pixels(self) -> Tensor:
        count = len(self._recent)
        return self._recent[torch.linspace(0, count - 1, min(MOST_OBSERVATIONS, count)).long().to(self._recent.device)]

    @cached_property
    def _s_x(self) -> Tensor:
        return self._embed(self._pixels)

    @cached_property
    def _inside(self) -> Tensor:
        return self._windows.window[MASK][:, 1:]

    @cached_property
    def _s_y(self) -> Tensor:
        window, jepa = self._windows.window, self._jepa
        with self._learner.hardware.autocast():
            return jepa.embed_y(window[PIXELS][:, :1] if jepa.y == "same" else window[PIXELS][:, 1:])

    @cached_property
    def _s_y_copied(self) -> Tensor:
        x, jepa = self._windows.window[PIXELS][:, :1], self._jepa
        with self._learner.hardware.autocast():
            now = jepa.embed_y(x)
        return now.expand_as(self._s_y)

    @cached_property
    def _s_y_hat(self) -> Tensor:
        return self._jepa.predict(self._steps[S_X], self._windows.window[ACTION][:, :-1])

    @cached_property
    def _policy(self) -> Mapping[str, Tensor]:
        algorithm = self._learner.algorithm
        if not isinstance(algorithm, ShowsPolicy):
            raise Absent
        return {name: ranks.averaged(figure) for name, figure in algorithm.policy_figures(self._steps).items()}

    @cached_property
    def _valued(self) -> tuple[Tensor, Tensor]:
        algorithm = self._learner.algorithm
        if not isinstance(algorithm, ShowsValues):
            raise Absent
        return algorithm.values_and_targets(self._steps)

    @property
    def _values(self) -> Tensor:
        return self._valued[0]

    @property
    def _value_targets(self) -> Tensor:
        return self._valued[1]

    @cached_property
    def _jepa(self) -> JEPA:
        if self._learner.jepa is None:
            raise Absent
        return self._learner.jepa

    @cached_property
    def _windows(self) -> Minibatch:
        return self._learner.experience.sample(max(2, self._count // ranks.size()))

    @cached_property
    def _steps(self) -> Any:
        """The sampled steps with their embeddings, as `Algorithm.losses` reads them."""
        window, steps = self._windows
        steps[S_X] = self._learner.embed(window[PIXELS][:, 0])
        if encoder := self._learner.bootstrap_encoder:
            with self._learner.hardware.autocast():
                steps["next", S_X] = cast(Tensor, encoder(steps["next", PIXELS])).float()
        return steps

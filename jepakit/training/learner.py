"""The learner: from a collected batch to the optimizer's steps on Eq. 3."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, cast

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from jepakit.components.shared import ranks
from jepakit.diagnostics.finite import BadEmbedding, bad_terms, expect_finite_weights, figures
from jepakit.machine.group import from_all
from jepakit.machine.hardware import Hardware
from jepakit.protocols import (
    ACTION,
    MASK,
    PIXELS,
    REWARD,
    S_Y,
    Algorithm,
    Augmentation,
    Embed,
    Experience,
    ManyViews,
    Minibatch,
    Observer,
    OffPolicyAlgorithm,
    OnPolicyAlgorithm,
    Term,
    is_annealed,
)
from jepakit.training.experience.rollout import Rollout
from jepakit.training.terms import JEPA, WeightedTerm, among_others, averaged, expect_shape, steps_ahead
from jepakit.training.update.bonus import Bonus
from jepakit.training.update.checks import Checks
from jepakit.training.update.rates import as_modules, parameter_groups
from jepakit.training.update.spread import trusted_spread
from jepakit.training.update.summary import summarised
from jepakit.training.update.views import augmented, hand_over


class Learner:
    """Owns all trained parts, and takes the optimizer's steps on Eq. 3.

    L = w_J · L_JEPA + L_RL + Σ w_R · L_reg + Σ w_A · L_aux, where L_RL comes from the algorithm: for PPO L_actor + L_critic and an entropy
    bonus. The online encoder runs once a minibatch and serves all terms. With ∇ off, the RL terms see s_x detached. Terms, metrics and
    gradients are means over ranks, so all ranks take the same steps.

    Source: Kenneweg et al., JEPA for RL, Eq. 3 and section 2 (Gradient Propagation).

    Args:
        encoder: V(θ, x).
        embedding_width: D, the width of s_x.
        jepa: Target, predictor and objective; None for no L_JEPA.
        terms: Regularizers and auxiliary terms, by the name of their metric.
        augmentations: Applied in order to stacks before they are encoded.
        algorithm: The RL algorithm.
        curiosity: Adds a bonus for surprise to the rewards; None for none. Its gradients are clipped apart from the agent's.
        replay: Source of an off-policy algorithm's minibatches; None for on-policy algorithms, which use the rollout just collected.
        hardware: Device, and precision of the encoders; heads, predictor and losses always run in fp32.
        lr: Adam's initial learning rate.
        lr_factors: Factors on the learning rate, by part or by a name in a part (`parameter_groups`).
        lr_schedule: Learning rate over the run's env steps: down to 0 linearly or by a half cosine, or constant.
        warmup_updates: Optimizer steps over which the learning rate rises linearly to where the schedule has it; 0 for none.
        eps: Adam's ε.
        max_grad_norm: Maximum norm of all gradients together; None for no clipping.
        max_bad_updates: The run ends after this many consecutive updates whose loss or gradient is not finite; until then it skips them.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        embedding_width: int,
        jepa: JEPA | None,
        terms: Mapping[str, WeightedTerm],
        augmentations: Sequence[Augmentation] = (),
        algorithm: Algorithm,
        curiosity: Bonus | None = None,
        replay: Experience | None = None,
        hardware: Hardware,
        lr: float,
        lr_factors: Mapping[str, float] = {},
        lr_schedule: Literal["linear", "constant", "cosine"],
        warmup_updates: int = 0,
        eps: float,
        max_grad_norm: float | None,
        max_bad_updates: int = 10,
    ) -> None:
        self.encoder = encoder
        self.embedding_width = embedding_width
        self.jepa = jepa
        self.terms = terms
        self.inputs = {name for term in terms.values() for name in term.inputs}  #: all inputs that the terms name
        self.augmentations = augmentations
        self.algorithm = algorithm
        self.curiosity = curiosity
        self.bootstrap_encoder: nn.Module | None = None  #: embeds the stacks from which values bootstrap
        self.followers: list[Callable[[], None]] = []  #: called after each optimizer step
        self.witnesses: list[Callable[[Mapping[str, Term]], None]] = []  #: shown each update's terms before their backward pass
        if jepa:
            self.followers.append(lambda: jepa.target.update(jepa.followed))
        if isinstance(algorithm, OffPolicyAlgorithm):
            self.bootstrap_encoder = algorithm.bootstrap_encoder
            self.followers.append(lambda: algorithm.updated(encoder))
        self.views, self.next_views = (algorithm.views, algorithm.next_views) if isinstance(algorithm, ManyViews) else (1, 1)
        self.hardware = hardware
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.scheduled_lr = lr  #: what warm-up rises to
        self.warmup_updates = warmup_updates
        self.max_grad_norm = max_grad_norm or math.inf
        self.max_bad_updates = max_bad_updates
        self.updates = 0  #: optimizer steps taken
        self.bad_updates = 0  #: consecutive updates, up to now, whose loss or gradient was not finite
        self.first_bad = ""  #: what was not finite in the first of those
        horizon = jepa.horizon if jepa else 1
        s_y = partial(self._encoded, by=jepa.embed_y) if jepa and jepa.s_y_per == "batch" else None
        self.experience: Experience = replay or Rollout(cast(OnPolicyAlgorithm, algorithm), horizon, self.embed, hardware.device, s_y)

        of_jepa = {"predictor": jepa.predictor, "objective": jepa.objective, "projector": jepa.projector} if jepa else {}
        trained: dict[str, object] = {"encoder": encoder, **of_jepa}
        trained |= {name.replace("/", "_"): term.loss for name, term in terms.items()}
        trained |= {"algorithm": algorithm} | ({"curiosity": curiosity.curiosity} if curiosity else {})
        self.trained = as_modules(trained)
        untrained = {f"augmentation_{i}": each for i, each in enumerate(augmentations)} | {"target": jepa and jepa.target}
        self.parts = as_modules(trained | untrained)  #: everything a checkpoint must hold
        self.observers = [module for module in self.parts.modules() if isinstance(module, Observer)]  #: in every copy of the encoder
        plain = (each for each in (trained | untrained).values() if not isinstance(each, nn.Module))
        self.annealed = [each for each in (*self.parts.modules(), *plain, self.experience) if is_annealed(each)]
        self.aside = curiosity.parameters if curiosity else []
        apart = {id(each) for each in self.aside}
        self.parameters = [each for each in self.trained.parameters() if each.requires_grad and id(each) not in apart]
        self.optimizer = torch.optim.Adam(parameter_groups(self.trained, lr_factors), lr=lr, eps=eps, fused=True)
        late = hardware.device != "cpu" and replay is None and ranks.size() == 1  # replay's priorities would have to be restored, too
        self.checks = Checks(self.parts, self.optimizer, late=late)

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> Tensor:
        """Encode for acting: uint8 [*, K, C, H, W], on any device -> s_x [*, D], fp32, no gradient."""
        with ranks.alone():
            return self._encoded(pixels.to(self.hardware.device))

    def anneal(self, progress: float) -> None:
        """Set every schedule, a component's own among them, to ``progress`` in [0, 1]."""
        factor = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}[self.lr_schedule]
        self.scheduled_lr = self.lr * factor
        for part in self.annealed:
            part.anneal(progress)

    def learn(self, batch: TensorDictBase, progress: float) -> dict[str, float]:
        """Run one round of updates on a collected ``batch`` [N, T]; ``progress`` in [0, 1) drives the schedules.

        Returns:
            Metrics by name (`summarised`), and with curiosity figures about its bonus.

        Raises:
            FloatingPointError: A surprise was not finite; or s_x, a loss term or its gradient in ``max_bad_updates`` consecutive updates;
                or a step made a weight non-finite.
            ValueError: A component's output does not have the shape that its slot promises.
        """
        self.anneal(progress)
        if progress == 0:
            self._observe(batch)  # before the first updates; later batches after theirs, so that updates see pixels as acting did
        batch, curious = self.curiosity.rewarded(batch, self.parts) if self.curiosity else (batch, {})
        self.experience.extend(batch)
        counts = self.updates, self.bad_updates, self.first_bad
        tried = self._round(counts) if self.witnesses else self.checks.round(partial(self._round, counts))
        if progress > 0:
            self._observe(batch)
        ranks.align_buffers(self.parts)
        expect_finite_weights(self.trained)  # after the last step, which no later update checks
        return summarised(tried) | curious

    def _round(self, counts: tuple[int, int, str]) -> list[dict[str, Tensor] | None]:
        self.updates, self.bad_updates, self.first_bad = counts  # as before the round, which may be tried a second time
        return [self.update(minibatch) for minibatch in self.experience.minibatches()]

    def update(self, minibatch: Minibatch) -> dict[str, Tensor] | None:
        """Take one optimizer step.

        Returns:
            Metrics as scalars, still on the device; None if the loss or its gradient was not finite, so that no step was taken.

        Raises:
            FloatingPointError: No step was possible for the ``max_bad_updates``-th time in a row.
            BadWeights: The previous step made a weight non-finite.
        """
        try:
            terms, metrics = self.losses(minibatch)
        except BadEmbedding:
            self._count_bad(minibatch, "s_x")
            return None
        except (RuntimeError, ValueError):
            expect_finite_weights(self.trained)  # with bad weights, torch's error would not name them
            raise
        self._warm_up()
        for show in self.witnesses:
            show(terms)
        total = torch.stack([term.weight * term.loss for term in terms.values()]).sum()
        self.optimizer.zero_grad()
        total.backward()
        ranks.average_gradients(self.parameters)
        norms = {"grad_norm": nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)}
        if self.aside:
            norms["curiosity/grad_norm"] = nn.utils.clip_grad_norm_(self.aside, self.max_grad_norm)
        if not self.checks.passed(total, *norms.values()):
            self._count_bad(minibatch)
            return None
        self.bad_updates, self.first_bad = 0, ""
        self.optimizer.step()
        for follow in self.followers:
            follow()
        self.experience.learned(minibatch)
        self.updates += 1
        metrics |= norms | {f"loss/{name}": term.loss for name, term in terms.items()} | {"loss/total": total}
        return {name: value.detach() for name, value in metrics.items()}

    def _count_bad(self, minibatch: Minibatch, what: str = "") -> None:
        """Skip the step, since it would spoil every weight, and record what was not finite."""
        expect_finite_weights(self.trained)
        self.bad_updates += 1
        if not self.first_bad:
            what = what or self._bad_terms(minibatch) or "the sum of all terms"
            self.first_bad = f"{what} (update {self.updates + 1:,}; {figures(minibatch)})"
        if self.bad_updates >= self.max_bad_updates:
            raise FloatingPointError(f"not finite in {self.bad_updates} updates in a row, first {self.first_bad}")

    def _bad_terms(self, minibatch: Minibatch) -> str:
        terms, _ = self.losses(minibatch)  # recomputed, because backward freed the graph
        found = from_all(bad_terms(terms, [*self.parameters, *self.aside]))
        return ", ".join(dict.fromkeys(name for names in found for name in names))

    def losses(self, minibatch: Minibatch) -> tuple[dict[str, Term], dict[str, Tensor]]:
        """The terms of Eq. 3 for ``minibatch``, and further metrics. The algorithm's losses may write into ``minibatch.steps``.

        Raises:
            BadEmbedding: The encoder's output is not finite.
        """
        window, steps = minibatch
        pixels = self._augmented(window[PIXELS])  # [B, H+1, K, C, H, W]
        s_x = self._encoded(pixels[:, 0])  # [B, D]
        if not self.checks.passed(everyones := ranks.gathered(s_x.detach())):
            raise BadEmbedding
        variance, mean_square = trusted_spread(everyones, pixels[:, 0], self.encoder, self.hardware.precision)

        more = [self._encoded(self._augmented(window[PIXELS][:, 0])) for _ in range(self.views - 1)]
        hand_over(steps, [view if self.algorithm.gradients_to_encoder else view.detach() for view in (s_x, *more)])
        if self.bootstrap_encoder:
            with torch.no_grad(), self.hardware.autocast():
                after = [self._augmented(steps["next", PIXELS]) for _ in range(self.next_views)]
                hand_over(steps["next"], [self.bootstrap_encoder(view).float() for view in after])
        rl_terms, metrics = self.algorithm.losses(steps)
        terms = among_others(rl_terms)

        inputs = {"s_x": s_x, "pixels": pixels[:, 0], "action": window[ACTION][:, 0], "reward": window[REWARD][:, 0]}
        if self.jepa:
            stacks = self._augmented(window[PIXELS][:, :1]) if self.jepa.y == "same" else pixels[:, 1:]
            s_y = window[S_Y][:, :-1] if self.jepa.s_y_per == "batch" else self._encoded(stacks, self.jepa.embed_y)  # [B, H, D]
            unrolled = self.jepa.unrolled(s_x, window[ACTION][:, :-1])  # [B, H, D]
            s_y_hat = self.jepa.projected(unrolled)
            expect_shape("target", s_y, s_y_hat.shape, self.jepa.target)
            inside = window[MASK][:, 1:].flatten().nonzero().squeeze(1)  # [M] of B·H: those in the window's first episode
            inputs |= {name: every.flatten(0, 1)[inside] for name, every in (("s_y_hat", s_y_hat), ("s_y", s_y))}  # [M, D]
            inputs |= steps_ahead(window, s_x, unrolled) if "s_hat" in self.inputs else {}
            distances = self.jepa.objective(inputs["s_y_hat"], inputs["s_y"])
            expect_shape("objective", distances, inputs["s_y"].shape[:-1], self.jepa.objective)
            terms["jepa"] = Term(self.jepa.weight, ranks.mean(distances))
        if "s_x_next" in self.inputs:
            inputs["s_x_next"] = self._encoded(pixels[:, 1])
        for name, term in self.terms.items():
            loss = term.loss(**{wanted: inputs[wanted] for wanted in term.inputs})
            expect_shape(name, loss, (), term.loss)
            terms[name] = Term(term.weight, loss)
        if self.curiosity and (surprise := self.curiosity.loss(window)) is not None:
            terms["curiosity"] = Term(1.0, surprise)
        return averaged(terms), {**metrics, "embedding/variance": variance, "embedding/mean_square": mean_square}

    def _encoded(self, pixels: Tensor, by: Embed | None = None) -> Tensor:
        with self.hardware.autocast():
            return (by or self.encoder)(pixels).float()

    def _augmented(self, pixels: Tensor) -> Tensor:
        return augmented(pixels, self.augmentations)

    def _warm_up(self) -> None:
        """Set the learning rate of the next update."""
        share = min(1.0, (self.updates + 1) / self.warmup_updates) if self.warmup_updates else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.scheduled_lr * share * group["factor"]

    def _observe(self, batch: TensorDictBase) -> None:
        """Pass the newest frame of every stack of ``batch`` [N, T] to the observers, which keep statistics of frames."""
        for observer in self.observers:
            observer.observe(batch[PIXELS][:, :, -1].flatten(0, 1))  # [N·T, C, H, W]

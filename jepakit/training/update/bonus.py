"""Curiosity's part in training: surprises, their running scale, the bonus on rewards, and the loss of what is surprised."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from jepakit.diagnostics.embedding import only_looking
from jepakit.machine.hardware import Hardware
from jepakit.protocols import ACTION, BONUS, PIXELS, REWARD, STEP_INPUTS, Curiosity, LearnsSurprise
from jepakit.training.terms import JEPA, expect_shape, unroll

DISTANCE = "distance"
CHUNK = 256  #: steps whose surprise is computed at once

Distance = Callable[[Tensor, Tensor, Tensor], Tensor]


class ReturnScale:
    """σ: the standard deviation of the discounted return R of all surprises so far.

    R[t] = γ R[t-1] + surprise[t] for each env, running forward as in the authors' code; σ² is its population variance over all envs and
    steps so far. It is kept in float64 on the CPU, and merged batch by batch as in Chan et al. 1979. With a memory, a batch of n steps
    reduces the weight of all earlier ones by exp(-n / memory).

    Source: Burda et al. 2019, Exploration by Random Network Distillation, section 2.4; the memory is ours.

    Args:
        num_envs: N.
        gamma: γ.
        episodic: Whether R begins anew with each episode.
        memory: Env steps, over all envs; None: nothing is forgotten.
    """

    def __init__(self, num_envs: int, gamma: float, episodic: bool, memory: int | None = None) -> None:
        self.gamma = gamma
        self.episodic = episodic
        self.memory = memory or math.inf
        self.state = {name: torch.zeros((), dtype=torch.float64) for name in ("count", "mean", "squares")}
        self.state["returns"] = torch.zeros(num_envs, dtype=torch.float64)

    def update(self, surprise: Tensor, done: Tensor) -> float:
        """Count ``surprise`` [N, T] in, where ``done`` [N, T] ends episodes, and return σ."""
        now, seen = self.state["returns"], []
        for each, ends in zip(surprise.double().cpu().T, done.cpu().T, strict=True):
            now = self.gamma * now + each
            seen.append(now)
            if self.episodic:
                now = now.where(~ends, 0.0)
        new, old = torch.stack(seen), self.state
        kept = math.exp(-new.numel() / self.memory)
        before = kept * old["count"]
        count = before + new.numel()
        apart = new.mean() - old["mean"]
        squares = kept * old["squares"] + (new - new.mean()).square().sum() + apart.square() * before * new.numel() / count
        mean = old["mean"] + apart * new.numel() / count
        self.state = {"count": count, "mean": mean, "squares": squares, "returns": now}
        return (squares / count).sqrt().item()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore ``state``.

        Raises:
            KeyError, ValueError: It is not the state of a scale for as many envs.
        """
        for name, like in self.state.items():
            if state[name].shape != like.shape or state[name].dtype != like.dtype or not state[name].isfinite().all():
                raise ValueError(f"curiosity: `{name}` is {state[name].dtype} {list(state[name].shape)}, or not finite")
        self.state = {name: state[name].clone() for name in self.state}


class Bonus:
    """Adds weight · surprise / σ to the rewards of collected steps.

    The bonus is computed once, when a step is collected: on-policy before the advantages, off-policy before the step enters the replay,
    which keeps it. So σ counts every step once and in order, and minibatches of n-step returns cost no further passes. The price is that
    old steps in a replay keep the bonus of their time.

    Args:
        kind: The curiosity's kind.
        curiosity: The component.
        weight: Factor of the scaled surprise.
        scale: σ.
        distance: Of the stacks before and after M steps and their actions: L_JEPA's distances [M]; None without JEPA.
        device: Where the parts are.

    Raises:
        ValueError: The curiosity asks for what there is not.
    """

    def __init__(
        self, kind: str, curiosity: Curiosity, weight: float, scale: ReturnScale, distance: Distance | None, device: str = "cpu"
    ) -> None:
        self.kind = kind
        self.curiosity = curiosity
        self.weight = weight
        self.scale = scale
        self.distance = distance
        self.device = device
        self.wanted = _wanted(curiosity.surprise, {*STEP_INPUTS})
        self.learning = curiosity if isinstance(curiosity, LearnsSurprise) else None
        self.learnt_from = _wanted(self.learning.loss, {*STEP_INPUTS} - {DISTANCE}) if self.learning else ()
        if DISTANCE in self.wanted and distance is None:
            without = "no `jepa` that predicts the next stack, or one whose objective compares each step with all others"
            raise ValueError(f"kind needs `distance`, of L_JEPA one step ahead, but this recipe has {without}")

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What its loss trains."""
        return [each for each in self.curiosity.parameters() if each.requires_grad] if isinstance(self.curiosity, nn.Module) else []

    def rewarded(self, batch: TensorDictBase, parts: nn.Module) -> tuple[TensorDictBase, dict[str, float]]:
        """A collected ``batch`` [N, T] with ``("next", "bonus")`` [N, T, 1] beside the reward, and figures about it.

        ``parts``, all modules that a surprise may go through, are in eval mode meanwhile.

        Raises:
            FloatingPointError: A surprise is not finite.
        """
        surprise = torch.cat([*self._surprises(batch, parts)]).view(batch.shape).float().cpu()  # [N, T]
        if not surprise.isfinite().all():
            raise FloatingPointError(f"a surprise of curiosity `{self.kind}` is not finite")
        deviation = self.scale.update(surprise, batch["next", "done"].squeeze(-1))
        bonus = self.weight * surprise / deviation if deviation else torch.zeros_like(surprise)
        batch = batch.copy()
        batch["next", BONUS] = bonus.unsqueeze(-1).to(batch["next", REWARD].device)
        added, earned = bonus.abs().sum().item(), batch["next", REWARD].abs().sum().item()
        share = added / (added + earned) if added else 0.0
        figures = {"bonus": bonus.mean().item(), "share": share, "surprise": surprise.mean().item(), "scale": deviation}
        return batch, {f"curiosity/{name}": figure for name, figure in figures.items()}

    def loss(self, window: TensorDictBase) -> Tensor | None:
        """The curiosity's loss on the windows [B, H+1] of a minibatch; None if it has none."""
        if not self.learning:
            return None
        given = {"pixels": window[PIXELS][:, 0], "pixels_next": window[PIXELS][:, 1], "action": window[ACTION][:, 0]}
        loss = self.learning.loss(**{name: given[name] for name in self.learnt_from})
        expect_shape("curiosity's loss", loss, (), self.curiosity)
        return loss

    def _surprises(self, batch: TensorDictBase, parts: nn.Module) -> Iterator[Tensor]:
        steps = batch.select(PIXELS, ACTION, ("next", PIXELS)).flatten()
        with only_looking(parts):
            for chunk in steps.split(CHUNK):
                pixels, after, action = (chunk[key].to(self.device) for key in (PIXELS, ("next", PIXELS), ACTION))
                given = {"pixels": pixels, "pixels_next": after, "action": action}
                if DISTANCE in self.wanted and self.distance:
                    given[DISTANCE] = self.distance(pixels, after, action)
                surprise = self.curiosity.surprise(**{name: given[name] for name in self.wanted})
                expect_shape("curiosity's surprise", surprise, (len(pixels),), self.curiosity)
                yield surprise


def distance_of(jepa: JEPA, encoder: nn.Module, hardware: Hardware) -> Distance | None:
    """L_JEPA's distance, one step ahead, of stacks [M, K, C, H, W] before and after M steps.

    None if L_JEPA looks no step ahead, or if its distance of one step depends on the others.
    """

    def distance(pixels: Tensor, after: Tensor, action: Tensor) -> Tensor:
        with hardware.autocast():
            s_x = encoder(pixels).float()
            s_y = jepa.embed_y(after[:, None])  # [M, 1, P]
        s_y_hat = jepa.projected(unroll(jepa.predictor, s_x, action[:, None]))
        return jepa.objective(s_y_hat[:, 0], s_y[:, 0])

    return None if jepa.y == "same" or getattr(jepa.objective, "compares_rows", False) else distance


def _wanted(method: Callable[..., Tensor], offered: set[str]) -> tuple[str, ...]:
    names = tuple(inspect.signature(method).parameters)
    unknown = [name for name in names if name not in offered]
    if unknown:
        raise ValueError(
            f"its {method.__name__} asks for `{unknown[0]}`; there is {', '.join(name for name in STEP_INPUTS if name in offered)}"
        )
    return names

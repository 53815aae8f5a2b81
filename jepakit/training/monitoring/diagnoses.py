"""A run's diagnostics: when they are due, what they get, and what becomes of what they return."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from time import perf_counter
from typing import Any

from torch import Tensor, nn
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.diagnostics.embedding import EmbeddingProbe
from jepakit.errors import told
from jepakit.protocols import LOOKS, MOST_NUMBERS, Diagnostic
from jepakit.training.learner import Learner
from jepakit.training.monitoring.look import Absent, Look, Witness
from jepakit.training.monitoring.quiet import quietly

NAME = re.compile(r"(?!time/)[a-z0-9_]+(/[A-Za-z0-9_.-]+)+")  #: of a figure

Figure = float | list[float]


@dataclass(frozen=True)
class Named:
    """A diagnostic, its kind, and the `LOOKS` that it names.

    Raises:
        ValueError: It names something that is not in `LOOKS`.
    """

    kind: str
    diagnostic: Diagnostic
    looks: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        call = self.diagnostic.forward if isinstance(self.diagnostic, nn.Module) else self.diagnostic
        looks = tuple(inspect.signature(call).parameters)
        unknown = [name for name in looks if name not in LOOKS]
        if unknown:
            raise ValueError(f"it asks for `{unknown[0]}`; a diagnostic gets {', '.join(LOOKS)}")
        object.__setattr__(self, "looks", looks)

    def measure(self, look: Look | Mapping[str, Any]) -> dict[str, Figure]:
        """Its figures; none if the recipe lacks what it names.

        Raises:
            ValueError: It returned something else than figures.
        """
        try:
            given = {name: look[name] for name in self.looks}
        except Absent:
            return {}
        return checked_figures(self.diagnostic(**given))


def checked_figures(found: object) -> dict[str, Figure]:
    """What a diagnostic returned, as numbers and lists of numbers.

    Raises:
        ValueError: It is something else, or a name is not that of a metric.
    """
    if not isinstance(found, Mapping):
        raise ValueError(f"it returned {type(found).__name__} where figures by name were expected")
    figures: dict[str, Figure] = {}
    for name, value in found.items():
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            raise ValueError(f"it names a figure {name!r}: write a group and a name, such as `embedding/{str(name).replace('/', '_')}`")
        plain: Any = value.detach().float().cpu().tolist() if isinstance(value, Tensor) else value
        entries = plain if isinstance(plain, Sequence) and not isinstance(plain, str) else [plain]
        if not all(isinstance(entry, int | float) for entry in entries) or len(entries) > MOST_NUMBERS:
            shape = f"tensor {list(value.shape)}, {prod(value.shape)} numbers" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"`{name}` is {shape}: a figure is a number, or a list of at most {MOST_NUMBERS} numbers")
        figures[name] = [float(f"{entry:.4g}") for entry in plain] if entries is plain else float(f"{plain:.6g}")
    return figures


class Diagnoses:
    """The diagnostics of a run. They look after a round of updates, once in ``every`` env steps, and change no training number.

    A diagnostic that raises is left out from then on.

    Args:
        diagnostics: By kind.
        learner: What they look at.
        every: Env steps between two looks.
    """

    def __init__(self, diagnostics: Mapping[str, Diagnostic], learner: Learner, every: int) -> None:
        self.named = [Named(kind, diagnostic) for kind, diagnostic in diagnostics.items()]
        self.learner = learner
        self.every = every
        self.looked_at = 0  #: env steps at the last look
        self.failed: dict[str, str] = {}  #: kinds left out since the last look, and why
        self.witness: Witness | None = None

    def begin(self, env_steps: int) -> None:
        """Before a round of updates that ends at ``env_steps``: watch it, if a look is due."""
        if self.named and env_steps // self.every > self.looked_at // self.every:
            self.witness = Witness(self.learner)

    @property
    def watching(self) -> float:
        """Seconds of this round that the watching took, which `end` counts among the diagnostics'."""
        return self.witness.seconds if self.witness else 0.0

    def end(self, env_steps: int, probe: EmbeddingProbe) -> dict[str, Any]:
        """After a round: the figures if a look is due, and else nothing; nothing before the first update.

        Args:
            env_steps: Of the run.
            probe: Holds recent observations.
        """
        witness, self.witness = self.witness, None
        if witness is None:
            return {}
        witness.leave()
        recent = probe.recent
        if not witness.after or recent is None:
            return {}  # no step was taken: look after the next round
        self.looked_at = env_steps
        started = perf_counter()
        with quietly(self.learner.parts), set_exploration_type(ExplorationType.MODE):  # without the noise of noisy layers
            figures = self._measure(Look(self.learner, recent, witness))
        return {**figures, "time/diagnostics": round(witness.seconds + perf_counter() - started, 4)}

    def _measure(self, look: Look) -> dict[str, Figure]:
        figures: dict[str, Figure] = {}
        for each in tuple(self.named):
            with self._spared(each):
                figures |= each.measure(look)
        return figures

    @contextmanager
    def _spared(self, named: Named) -> Iterator[None]:
        """Leaves out a diagnostic that raises inside: it must not end the run."""
        try:
            yield
        except (Exception, SystemExit) as error:
            self.failed[named.kind] = told(error)
            self.named.remove(named)

    def failures(self) -> dict[str, str]:
        """The kinds that have failed since this was last asked, and why."""
        failed, self.failed = self.failed, {}
        return failed

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run continues from."""
        kept = {}
        for each in tuple(self.named):
            if hasattr(each.diagnostic, "state_dict"):
                with self._spared(each):
                    kept[each.kind] = _storable(each.diagnostic.state_dict())
        return {"looked_at": self.looked_at, "kinds": kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it; a diagnostic that was not there then begins anew."""
        self.looked_at = int(state["looked_at"])
        for each in tuple(self.named):
            if each.kind in state["kinds"] and hasattr(each.diagnostic, "load_state_dict"):
                with self._spared(each):
                    each.diagnostic.load_state_dict(state["kinds"][each.kind])


def _storable(value: Any) -> Any:
    """A copy that a checkpoint can hold: tensors that share no memory, and JSON values.

    Raises:
        TypeError: There is something else in it.
    """
    if isinstance(value, Mapping):
        if odd := [name for name in value if not isinstance(name, str)]:
            raise TypeError(f"its state has the key {odd[0]!r}, and a checkpoint's keys are strings")
        return {name: _storable(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(entry) for entry in value]
    if isinstance(value, Tensor):
        return value.detach().clone()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"its state holds {type(value).__name__}, which no checkpoint can")

"""The collector kind ``multi_sync``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import PositiveInt
from torchrl.collectors import MultiSyncCollector

from jepakit.components.collectors.processes import Processes, starting_anew
from jepakit.components.collectors.rounds import Remote, Rounds
from jepakit.protocols import Acting, Actor
from jepakit.registry import register


@register("collector", "multi_sync")
class MultiSync(Rounds):
    """Processes act at the same time, each in its share of the simulators; the learner waits for all: TorchRL's ``MultiSyncCollector``.

    Before each batch they get the learner's weights, so it is on-policy. With one worker, the run's numbers are those of ``direct``.

    Args:
        workers: Processes, each with an encoder of its own; they must divide ``num_envs``.
    """

    def __init__(self, *, workers: PositiveInt = 2) -> None:
        super().__init__(workers)

    def start(self, acting: Acting, make: Sequence[Callable[[], Actor]]) -> Remote:
        """Start processes."""
        with starting_anew():
            return Processes(MultiSyncCollector, acting, make)

"""A collector of your own: decides where and how the policy acts."""

from __future__ import annotations

from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import torch
from jepakit import register
from jepakit.protocols import Collected

if TYPE_CHECKING:
    from jepakit.protocols import Acting


@register("collector", "my_component")
class MyComponent:
    """Acts in the run's own process, one step after the other.

    Args:
        pause: Seconds to wait before each batch.
    """

    workers = 1  # processes that act; they must divide the env's N
    lags = False  # whether a batch may come from older weights than the learner's
    restores = True  # whether `snapshot` and `restore` continue all episodes exactly

    def __init__(self, *, pause: float = 0.0) -> None:
        self.pause = pause

    def restore(self, acting: Acting, snapshot: dict[str, Any]) -> None:
        """Begin where another run's collector was at ``snapshot``."""
        acting.env.restore(snapshot)  # the next reset continues its episodes

    def begin(self, acting: Acting) -> None:
        """Start; here, reset the env."""
        self.acting = acting
        self.now = acting.env.reset()

    def collect(self) -> Collected:
        """The next batch, [N, T]."""
        sleep(self.pause)
        steps, seconds = [], {"env": self.pause, "policy": 0.0}
        for _ in range(self.acting.steps):
            times = [perf_counter()]
            acted = self.acting.policy(self.now.to(self.acting.device)).to("cpu")
            times.append(perf_counter())
            step, self.now = self.acting.env.step_and_maybe_reset(acted)
            times.append(perf_counter())
            seconds["policy"] += times[1] - times[0]
            seconds["env"] += times[2] - times[1]
            steps.append(step)
        return Collected(torch.stack(steps, dim=1), seconds)

    def snapshot(self) -> dict[str, Any]:
        """The state of all episodes, as tensors and JSON values."""
        state: dict[str, Any] = self.acting.env.snapshot()
        return state

    def close(self) -> None:
        """End what `begin` has started; the env is the run's."""

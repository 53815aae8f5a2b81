"""The collector kind ``direct``."""

from __future__ import annotations

import warnings
from typing import Any

from torchrl.collectors import Collector as TorchRLCollector

from jepakit.protocols import Acting, Collected
from jepakit.registry import register

WITHOUT_WEIGHTS = "A policy device was provided but no parameter"  #: TorchRL's warning about the algorithm `none`, which acts at random


@register("collector", "direct")
class Direct:
    """Acts in the run's own process, between two rounds of updates: TorchRL's ``Collector``."""

    workers = 1
    in_process = True
    lags = False
    restores = True

    def __init__(self) -> None:
        self.collector: TorchRLCollector | None = None

    def restore(self, acting: Acting, snapshot: dict[str, Any]) -> None:
        """Restore the env, whose next reset continues its episodes."""
        acting.env.restore(snapshot)

    def begin(self, acting: Acting) -> None:
        """Make TorchRL's collector, which resets the env."""
        self.acting = acting
        warnings.filterwarnings("ignore", WITHOUT_WEIGHTS, module="torchrl")
        self.collector = TorchRLCollector(
            acting.env,
            acting.policy,
            frames_per_batch=acting.steps * acting.env.batch_size[0],
            total_frames=-1,
            policy_device=acting.device,
            env_device="cpu",
            storing_device="cpu",
            auto_register_policy_transforms=False,  # the policy keeps no state between steps
        )
        self.batches = iter(self.collector)

    def collect(self) -> Collected:
        """Act for T steps."""
        timed: dict[str, Any] = {"env": self.acting.env, "policy": self.acting.policy}
        before = {part: each.seconds for part, each in timed.items()}
        batch = next(self.batches)
        return Collected(batch, {part: each.seconds - before[part] for part, each in timed.items()})

    def snapshot(self) -> dict[str, Any]:
        """Of the env."""
        state: dict[str, Any] = self.acting.env.snapshot()
        return state

    def close(self) -> None:
        """Leave the env open, which is the run's."""
        if self.collector is not None:
            self.collector.shutdown(close_env=False)
            self.collector = None

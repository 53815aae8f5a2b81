"""The loop: a TorchRL collector's batches to the learner, and all that is recorded on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import fmean
from time import perf_counter
from typing import Any, Literal

from tensordict import TensorDictBase
from torchrl.collectors import Collector
from torchrl.envs import EnvBase

from jepakit.diagnostics.collapse import CollapseWatch
from jepakit.diagnostics.embedding import EmbeddingProbe
from jepakit.protocols import EPISODE_LENGTH, EPISODE_RETURN, PIXELS, Restorable
from jepakit.recipe import Recipe, recipe_id
from jepakit.training.checkpoint import save_checkpoint
from jepakit.training.folder import RunFolder
from jepakit.training.frame_log import FrameLog
from jepakit.training.learner import Learner
from jepakit.training.manifest import checkpoints, named_frames
from jepakit.training.policy import Policy
from jepakit.training.progress import Progress
from jepakit.training.replay import Replay
from jepakit.training.state import capture, set_generators

Status = Literal["finished", "stopped", "interrupted"]

EMBEDDING = ("embedding/variance", "embedding/mean_square", "embedding/rank")


@dataclass
class History:
    """What the summary is made of, as it stands so far."""

    env_steps: int = 0
    episodes: int = 0
    returns: deque[float] = field(default_factory=lambda: deque(maxlen=100))  #: of the last 100 episodes
    return_curve: list[float] = field(default_factory=list)  #: mean of ``returns`` after each batch, from the first episode's end on
    latest: dict[str, Any] = field(default_factory=dict)  #: the last train record

    def return_last(self, episodes: int) -> float | None:
        """Mean return of the last ``episodes`` (at most 100) episodes, or of as many as have ended; None before the first."""
        return fmean(list(self.returns)[-episodes:]) if self.returns else None


class Loop:
    """Trains ``learner`` in ``env`` for ``recipe.total_steps`` env steps, rounded up to whole batches.

    Args:
        recipe: What to do, with hardware resolved.
        env: The recipe's env.
        learner: The recipe's learner.
        folder: Where records and checkpoints go.
        progress: Who is told.
        stop_requested: Asked after each batch; true ends the run as interrupted.
    """

    def __init__(
        self, recipe: Recipe, env: EnvBase, learner: Learner, folder: RunFolder, progress: Progress, stop_requested: Callable[[], bool]
    ) -> None:
        self.recipe = recipe
        self.id = recipe_id(recipe)  #: taken once: files that it covers may change while the run goes on
        self.env = env
        self.learner = learner
        self.folder = folder
        self.progress = progress
        self.stop_requested = stop_requested
        self.policy = Policy(learner)
        self.watch = CollapseWatch(recipe.collapse_threshold)
        self.probe = EmbeddingProbe(learner.encoder, learner.embedding_width, learner.hardware.device)
        self.history = History()
        replay = learner.experience if isinstance(learner.experience, Replay) else None
        self.frames = FrameLog(folder.replay, replay) if replay else None
        self.exact = isinstance(env, Restorable) and env.restores_exactly()  #: whether a resumed run goes on within its episodes
        self.has_begun = False  #: whether `run` was called
        self.generators: dict[str, Any] | None = None  #: of a resumed run: the states of all random number generators

    def run(self) -> Status:
        """Collect, learn, record, until the steps are done or something ends the run early."""
        self.has_begun = True
        device, steps = self.learner.hardware.device, self.learner.algorithm.rollout_steps
        collector = Collector(
            self.env,
            self.policy,
            frames_per_batch=steps * self.env.batch_size[0],
            total_frames=-1,
            policy_device=device,
            env_device="cpu",
            storing_device="cpu",
            auto_register_policy_transforms=False,  # the policy keeps no state over steps
        )
        try:
            batches = iter(collector)
            if self.generators:
                set_generators(self.generators)  # last: making a collector may draw numbers
            return self._train(batches)
        finally:
            collector.shutdown(close_env=False)

    def _train(self, batches: Iterator[TensorDictBase]) -> Status:
        history, every = self.history, self.recipe.checkpoint_every
        checkpoint_due = history.env_steps + every
        while history.env_steps < self.recipe.total_steps:
            started, env_before, policy_before = perf_counter(), self.env.seconds, self.policy.seconds
            batch = next(batches)  # [N, T]
            learning = perf_counter()
            metrics: dict[str, Any] = self.learner.learn(batch, progress=history.env_steps / self.recipe.total_steps)
            learned = perf_counter()
            self._record_episodes(batch)
            history.env_steps += batch.numel()
            known = {name: history.latest.get(name) for name in EMBEDDING}
            metrics = known | self.probe.measure(batch[PIXELS].flatten(0, 1), history.env_steps) | metrics
            times = {
                "time/env": self.env.seconds - env_before,
                "time/policy": self.policy.seconds - policy_before,
                "time/learner": learned - learning,
                "time/batch": perf_counter() - started,
            }
            self._record_batch(metrics, times)
            self._watch(metrics["embedding/variance"], metrics["embedding/mean_square"])
            if self.stop_requested():
                return self._end("interrupted")
            if self.watch.collapsed and self.recipe.on_collapse == "stop":
                return self._end("stopped")
            if history.env_steps >= checkpoint_due:
                self.checkpoint()
                checkpoint_due = history.env_steps + every
        return self._end("finished")

    def checkpoint(self) -> None:
        """Save all that decides how the run goes on."""
        keep = self.recipe.keep_checkpoints
        save_checkpoint(self.folder.checkpoints, capture(self), keep)
        if self.frames:
            self.frames.prune(set().union(*map(named_frames, checkpoints(self.folder.checkpoints)[-keep:])))

    def _end(self, status: Status) -> Status:
        self.checkpoint()
        return status

    def _record_episodes(self, batch: TensorDictBase) -> None:
        """One record a finished episode, in the order in which they ended."""
        num_envs = batch.shape[0]
        ended = batch["next", "done"].squeeze(-1).T.nonzero().tolist()  # [T, N]: time first
        for step, env in ended:
            end = batch["next"][env, step]
            episode_return = end[EPISODE_RETURN].item()
            self.history.episodes += 1
            self.history.returns.append(episode_return)
            self.folder.metric(
                "episode",
                env_steps=self.history.env_steps + (step + 1) * num_envs,
                episode_return=episode_return,
                episode_length=end[EPISODE_LENGTH].item(),
                terminated=end["terminated"].item(),
            )

    def _record_batch(self, metrics: dict[str, Any], times: dict[str, float]) -> None:
        history = self.history
        if history.returns:
            history.return_curve.append(fmean(history.returns))
        history.latest = {
            "env_steps": history.env_steps,
            "updates": self.learner.updates,
            "return_last_100": history.return_last(100),
            **metrics,
            **{name: round(seconds, 4) for name, seconds in times.items()},
        }
        self.folder.metric("train", **history.latest)
        self.progress.batch(history.latest)

    def _watch(self, variance: float | None, mean_square: float | None) -> None:
        if variance is None or mean_square is None:
            return
        verdict = self.watch.judge(self.history.env_steps, variance, mean_square)
        if not verdict:
            return
        figures = {"env_steps": self.history.env_steps, "variance": variance, "mean_square": mean_square}
        self.folder.event(verdict, **figures)
        text = f"embedding {verdict} at {self.history.env_steps:,} env steps: variance {variance:.2e}, variance / mean square "
        tell = self.progress.warn if verdict == "collapsed" else self.progress.note
        text += f"{variance / mean_square if mean_square else 0:.2e}"
        if verdict == "collapsed" and hasattr(self.recipe.encoder, "scaling"):
            text += f"; a background that is not zero is one cause: see `scaling` in `jepakit explain encoder {self.recipe.encoder.kind}`"
        tell(text)

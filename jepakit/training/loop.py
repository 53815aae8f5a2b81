"""The training loop: feeds a collector's batches to the learner, and records metrics and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from statistics import fmean
from time import perf_counter
from typing import Any, Literal

from tensordict import TensorDictBase
from torch import Tensor

from jepakit.components.shared import ranks
from jepakit.diagnostics.collapse import below_paper_variance
from jepakit.diagnostics.embedding import only_looking
from jepakit.machine.generators import set_generators
from jepakit.machine.group import any_rank, from_all
from jepakit.protocols import PIXELS, Collected, WorkerLost
from jepakit.recipe import recipe_id
from jepakit.storage.checkpoint import save_checkpoint
from jepakit.storage.manifest import best_evaluated, checkpoints, named_frames
from jepakit.training.advice import advice
from jepakit.training.experience.episodes import ended_episodes
from jepakit.training.experience.recorded import Recorded
from jepakit.training.monitoring.evaluation import MODES, Evaluation
from jepakit.training.monitoring.periodic_probes import PeriodicProbes
from jepakit.training.progress import Progress
from jepakit.training.state import RunState, capture

Status = Literal["finished", "stopped", "interrupted"]

EMBEDDING = ("embedding/variance", "embedding/mean_square", "embedding/rank")


class Loop:
    """Trains the learner in the env for ``recipe.total_steps`` env steps, rounded up to whole batches.

    Args:
        state: The run's parts, at its start or restored from a checkpoint.
        progress: The progress display.
        stop_requested: Called after each batch; true ends the run as interrupted.
    """

    def __init__(self, state: RunState, progress: Progress, stop_requested: Callable[[], bool]) -> None:
        self.state = state
        self.recipe = state.recipe
        self.id = recipe_id(state.recipe)  #: computed once, because files that it covers may change during the run
        self.env = state.env
        self.learner = state.learner
        self.folder = state.folder
        self.history = state.history
        self.progress = progress
        self.stop_requested = stop_requested
        self.evaluation = Evaluation(state.recipe, state.learner)
        self.probes = PeriodicProbes(state.recipe, state.learner)
        self.has_begun = False  #: whether `run` was called

    def run(self) -> Status:
        """Collect, learn and record until all steps are done or something ends the run early."""
        self.has_begun = True
        try:
            with self._batches() as batches:
                if self.state.generators:
                    set_generators(self.state.generators)  # last: creating a collector may draw random numbers
                return self._train(batches)
        finally:
            self.evaluation.close()
            self.probes.close()

    @contextmanager
    def _batches(self) -> Iterator[Iterator[Collected]]:
        """What is learned from: the collector's batches [N, T], or those of recorded data."""
        if isinstance(self.learner.experience, Recorded):
            yield (Collected(batch, {"env": 0.0, "policy": 0.0}) for batch in self.learner.experience.batches())
            return
        collector = self.state.collector
        try:
            with only_looking(self.learner.parts), ranks.alone():  # it may try the policy out, which must not count in batch statistics
                collector.begin(self.state.acting)
            yield iter(self._collect, None)
        finally:
            collector.close()

    def _collect(self) -> Collected:
        """The next batch. If a worker is lost, everything up to here is saved."""
        try:
            return self.state.collector.collect()
        except WorkerLost:
            self.state.lost = True
            self.checkpoint()
            raise

    def _train(self, batches: Iterator[Collected]) -> Status:
        history, every, diagnoses = self.history, self.recipe.checkpoint_every, self.state.diagnoses
        checkpoint_due = history.env_steps + every
        while history.env_steps < self.recipe.total_steps and not self.stops:
            started = perf_counter()
            batch, acting_seconds = next(batches)  # [N, T], with N simulators of this rank's own
            steps = batch.numel() * ranks.size()
            lag = self.state.acting.lag(batch)
            learning = perf_counter()
            diagnoses.begin(history.env_steps + steps)
            history.progress = history.env_steps / self.recipe.total_steps
            metrics: dict[str, Any] = self.learner.learn(batch, history.progress)
            learned = perf_counter()
            if self.state.stepped:
                self._record_episodes(batch)
            history.env_steps += steps
            self._count_skipped(int(metrics.get("updates_skipped", 0)))
            known = {name: history.latest.get(name) for name in EMBEDDING}
            metrics = known | self.state.probe.measure(batch[PIXELS].flatten(0, 1), history.env_steps) | metrics | lag
            times = {
                "time/env": acting_seconds["env"],
                "time/policy": acting_seconds["policy"],
                "time/learner": learned - learning - diagnoses.watching,
                "time/batch": perf_counter() - started,
            }
            for part in ("env", "policy", "learner"):
                history.spend(part, times[f"time/{part}"])
            self._diagnose()
            best_so_far = any_rank(self._evaluate(history.env_steps - steps))
            self._probe(steps)
            self._record_batch(metrics, times)
            self._watch(metrics["embedding/variance"], metrics["embedding/mean_square"], batch[PIXELS])
            if any_rank(self.stop_requested()):
                return self._end("interrupted")
            is_due = history.env_steps >= checkpoint_due
            if best_so_far or is_due:
                self.checkpoint()
            if is_due:
                checkpoint_due = history.env_steps + every
        return self._end("stopped" if self.stops else "finished")

    @property
    def stops(self) -> bool:
        """Whether a collapse ends the run; of a run that is resumed, too."""
        return self.state.watch.collapsed and self.recipe.on_collapse == "stop"

    def checkpoint(self) -> None:
        """Save everything that determines how the run continues."""
        started, keep = perf_counter(), self.recipe.keep_checkpoints
        self.folder.expect_in_place()
        captured = capture(self.state)
        if ranks.rank() == 0:
            save_checkpoint(self.folder.checkpoints, captured, keep)
        if self.state.frames:
            self.state.frames.prune(set().union(*map(named_frames, checkpoints(self.folder.checkpoints)[-keep:])))
        self.history.spend("checkpoint", perf_counter() - started)

    def _end(self, status: Status) -> Status:
        self.checkpoint()
        return status

    @property
    def frames(self) -> dict[str, int]:
        """Simulator frames so far, to be recorded where they are not the env steps: the env repeats each action."""
        per_step = getattr(self.env, "frames_per_step", 1)
        return {} if per_step == 1 else {"frames": self.history.env_steps * per_step}

    def _record_episodes(self, batch: TensorDictBase) -> None:
        """Write one record for each episode that has finished on any rank, in the order of their ends."""
        episodes = [episode for found in from_all(ended_episodes(batch)) for episode in found]
        for step, episode in sorted(episodes, key=itemgetter(0)):
            self.history.episodes += 1
            self.history.returns.append(episode["episode_return"])
            ended_at = self.history.env_steps + (step + 1) * batch.shape[0] * ranks.size()
            self.folder.metric("episode", env_steps=ended_at, **episode)

    def _diagnose(self) -> None:
        """Write a record of the diagnostics if it is due; it precedes the batch's own."""
        if figures := self.state.diagnoses.end(self.history.env_steps, self.state.probe):
            self._record("diagnostics", figures)
        for kind, error in self.state.diagnoses.failures().items():
            self._warn(f"the diagnostic `{kind}` has failed and is left out; the run goes on: {error}")

    def _evaluate(self, before: int) -> bool:
        """Evaluate if it is due after a batch that began at ``before`` env steps; whether the weights are the best that were evaluated."""
        self.history.eval_return = None
        if ranks.rank() or not self.evaluation.is_due(before, self.history.env_steps):
            return False
        with ranks.alone():
            figures = self.evaluation.measure()
        if not figures:
            self._warn(f"the evaluation has failed, and there are no more of them; the run goes on: {self.evaluation.failure}")
            return False
        self._record("eval", figures)
        self.history.eval_return = max(figures[f"eval/return_{mode}"] for mode in MODES)
        best = best_evaluated(self.folder.checkpoints)
        return best is None or self.history.eval_return >= best

    def _probe(self, steps: int) -> None:
        """Write a record of the state probes if they became due in the last ``steps``; it precedes the batch's own."""
        if ranks.rank():
            return
        failed = self.probes.failure
        with ranks.alone():
            figures = self.probes.measure(self.history.env_steps - steps, self.history.env_steps)
        if figures:
            self._record("probe", figures)
        if self.probes.failure and not failed:
            self._warn(f"the state probes have failed, and there are no more of them; the run goes on: {self.probes.failure}")

    def _count_skipped(self, updates: int) -> None:
        """Count updates that were skipped, and tell of the first ones."""
        if updates and not self.history.updates_skipped:
            why = "loss or gradient was not finite: is `optimizer.lr` too high, or are rewards too large?"
            self._warn(f"{updates} updates were skipped at {self.history.env_steps:,} env steps, because {why}")
        self.history.updates_skipped += updates

    def _warn(self, text: str) -> None:
        self.folder.event("warning", text=text)
        self.progress.warn(text)

    def _record(self, phase: str, figures: dict[str, Any]) -> None:
        """Write what was measured between two batches, and count the time that it took."""
        self.folder.metric(phase, env_steps=self.history.env_steps, **figures)
        self.history.spend(phase, figures[f"time/{phase}"])

    def _record_batch(self, metrics: dict[str, Any], times: dict[str, float]) -> None:
        history = self.history
        if history.returns:
            history.return_curve.append(fmean(history.returns))
        history.latest = {
            "env_steps": history.env_steps,
            **self.frames,
            "updates": self.learner.updates,
            "return_last_100": history.return_last(100),
            **metrics,
            **{name: round(seconds, 4) for name, seconds in times.items()},
        }
        self.folder.metric("train", **history.latest)
        self.progress.batch(history.latest)

    def _watch(self, variance: float | None, mean_square: float | None, pixels: Tensor) -> None:
        if variance is None or mean_square is None:
            return
        verdict = self.state.watch.judge(self.history.env_steps, variance, mean_square)
        if not verdict:
            return
        figures = {"env_steps": self.history.env_steps, "variance": variance, "mean_square": mean_square}
        self.folder.event(verdict, **figures, below_paper_variance=below_paper_variance(variance))
        text = f"embedding {verdict} at {self.history.env_steps:,} env steps: variance {variance:.2e}, variance / mean square "
        tell = self.progress.warn if verdict == "collapsed" else self.progress.note
        text += f"{variance / mean_square if mean_square else 0:.2e}"
        if verdict == "collapsed":
            text += f"; {advice(self.recipe, pixels)}"
        tell(text)

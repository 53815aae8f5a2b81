"""One run: choose its folder, train, and record how it ends."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from jepakit.diagnostics.collapse import below_paper_variance
from jepakit.errors import UserError, shown
from jepakit.files.writing import DiskFull, write_atomically
from jepakit.machine.hardware import settle
from jepakit.machine.interrupt import graceful_stop
from jepakit.recipe import AnyRecipe, Overrides, Recipe, load_recipe, recipe_id
from jepakit.recipe.identity import source_digests
from jepakit.storage.folder import RunFolder, read_provenance, read_summary, refuse_read_only, refuse_taken
from jepakit.storage.lock import is_locked
from jepakit.storage.manifest import checkpoints, newest_whole
from jepakit.storage.mirror import Mirrors
from jepakit.storage.provenance import provenance
from jepakit.storage.stored import resume_command, stored_recipe
from jepakit.training.build import build_env, build_learner
from jepakit.training.extend import extended
from jepakit.training.loop import Loop
from jepakit.training.progress import progress_for
from jepakit.training.rehearsal import notices, rehearse
from jepakit.training.state import RunState, put_back

RUNS = Path("runs")
ENDED_AS_MEANT = ("finished", "stopped")  #: ends that the recipe decides; running it again would end the same way


@dataclass(frozen=True)
class RunResult:
    """A run's folder and the content of its ``summary.json``."""

    path: Path
    summary: dict[str, Any]
    fresh: bool  #: True if this call trained; False if it found a finished identical run and returned its result


def run(
    recipe: AnyRecipe,
    *,
    overrides: Overrides = (),
    seed: int | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> RunResult:
    """Train a recipe.

    Args:
        recipe: The path of a recipe, the name of a shipped one, a mapping with the content of a recipe's file, or a loaded recipe.
        overrides: Values by path, ``{"encoder.dim": 32}``, or a list of ``path.to.field=value``, as in the command line's ``--set``.
        seed: Replaces the recipe's seed.
        out: The run's folder, which must be new or empty. Default: ``runs/<name>/<id>``; if an identical run has finished there, its result
            is returned.
        quiet: Show only warnings.

    Raises:
        UserError: The recipe, the folder or the requested hardware can't be used; nothing was trained.
        Exception: The run failed; the traceback is in its folder.
    """
    if not isinstance(recipe, Recipe) or overrides or seed is not None:
        recipe = load_recipe(recipe, overrides, seed)
    if recipe.sweep:
        advice = "run them all with `jepakit ablate`, or the recipe as it is with `--set sweep=null`"
        raise recipe.error("sweep", f"this recipe is a sweep of {recipe.sweep.size:,} runs", advice)
    if recipe.parent:
        raise recipe.error("parent", "this run extended another run's checkpoint: a run from the start has no parent", "leave `parent` out")
    recipe, hardware = settle(recipe)
    path = Path(out) if out is not None else RUNS / recipe.name / recipe_id(recipe)
    if out is None and path.exists():
        return _earlier_run(path)
    refuse_taken(path)
    refuse_read_only(path)
    with contextlib.closing(build_env(recipe)) as env:
        rehearse(recipe, env, hardware)
        env.set_seed(recipe.seed)
        learner = build_learner(recipe, env, hardware, path / "replay")
        if out is None and path.exists():  # created meanwhile by another process
            return _earlier_run(path)
        with (
            contextlib.closing(RunFolder.create(path)) as folder,
            progress_for(f"{recipe.name} -> {path}", recipe.total_steps, quiet=quiet) as progress,
            graceful_stop(progress.note) as stop_requested,
            contextlib.closing(Mirrors(recipe.sinks, path, progress.warn)) as mirrors,
        ):
            loop = Loop(RunState(recipe, env, learner, folder), progress, stop_requested)
            return RunResult(path, _train(loop, _begin, mirrors), fresh=True)


def resume(path: str | Path, *, total_steps: int | None = None, trust: bool = False, quiet: bool = False) -> RunResult:
    """Resume the run in folder ``path`` from its newest intact checkpoint, or from the start if there is none.

    On a CPU, ``metrics.jsonl`` (except times) and all weights end up as if the run had never been interrupted.

    Args:
        path: A run's folder.
        total_steps: Extend the run, finished or not, to this many env steps: a new run beside it starts from its newest checkpoint.
        trust: Whether to run the plug-ins that its recipe names.
        quiet: Show only warnings.

    Raises:
        UserError: There is no run to resume, another process is writing it, or its checkpoints are of another jepakit.
        Exception: The run failed; the traceback is in its folder.
    """
    path = Path(path)
    if total_steps is not None:
        path = extended(path, total_steps, trust, warnings.warn)
    summary = read_summary(path)
    if summary and summary["status"] in ENDED_AS_MEANT:
        return RunResult(path, summary, fresh=False)
    recipe, hardware = settle(stored_recipe(path, trust))
    with contextlib.closing(RunFolder.reopen(path)) as folder, contextlib.closing(build_env(recipe)) as env:
        env.set_seed(recipe.seed)
        learner = build_learner(recipe, env, hardware, path / "replay")
        with (
            progress_for(f"{recipe.name} -> {path}", recipe.total_steps, quiet=quiet) as progress,
            graceful_stop(progress.note) as stop_requested,
            contextlib.closing(Mirrors(recipe.sinks, path, progress.warn)) as mirrors,
        ):
            loop = Loop(RunState(recipe, env, learner, folder), progress, stop_requested)
            return RunResult(path, _train(loop, _go_on, mirrors), fresh=True)


def _earlier_run(path: Path) -> RunResult:
    summary = read_summary(path)
    if summary and summary["status"] in ENDED_AS_MEANT:
        return RunResult(path, summary, fresh=False)
    if is_locked(path):
        raise UserError(f"{path}: this run is already running there")
    if not (path / "recipe.yaml").exists():
        raise UserError(f"{path} is this run's folder, but holds no run: remove it, or name another folder with --out DIR")
    state = summary["status"] if summary else "it was killed"
    raise UserError(
        f"{path} holds this run, unfinished ({state}): resume it with `{resume_command(path)}`, or name another folder with --out DIR"
    )


def _begin(loop: Loop) -> None:
    """Write a new run's recipe, provenance and first events."""
    folder = loop.folder
    folder.write_recipe(loop.recipe)
    code = {"id": loop.id, "sources": source_digests(loop.recipe)}
    drawing = {"drawing": loop.env.drawing} if hasattr(loop.env, "drawing") else {}
    folder.write_json("provenance.json", provenance(loop.learner.hardware) | code | drawing)
    folder.event("start", pid=os.getpid(), host=platform.node())
    for plugin in loop.recipe.loaded_plugins:
        if plugin.failure:
            folder.event("warning", text=f"the plug-in `{plugin.name}` cannot be imported: {plugin.failure}")
    for notice in notices(loop.recipe, loop.env, loop.learner.encoder):
        _notice(loop, notice)
    if not loop.state.exact:
        _notice(loop, "this env's simulators cannot be restored exactly: a resumed run begins new episodes")


def _go_on(loop: Loop) -> None:
    """Restore the loop and its folder to the newest intact checkpoint."""
    folder = loop.folder

    def warn(text: str) -> None:
        folder.event("warning", text=text)
        loop.progress.warn(text)

    newest = newest_whole(folder.checkpoints, warn, folder.replay if loop.state.frames else None)
    if newest:
        lost = put_back(loop.state, newest)
    else:
        lost = []
        folder.go_on_from(0, 0.0)
    for later in checkpoints(folder.checkpoints):  # corrupt, and in the way of new ones
        if newest is None or later > newest:
            shutil.rmtree(later)
    for name in ("summary.json", "traceback.txt"):
        (folder.path / name).unlink(missing_ok=True)
    told = {"env_steps": loop.history.env_steps, "pid": os.getpid(), "host": platform.node()}
    folder.event("resume", **told, checkpoint=newest.name if newest else None)
    loop.progress.resume(loop.history.env_steps)
    for text in lost:
        _notice(loop, text)
    _compare_with_the_start(loop, warn)


def _compare_with_the_start(loop: Loop, warn: Callable[[str], None]) -> None:
    provenance_then = read_provenance(loop.folder.path)
    before = provenance_then.get("packages")
    if not isinstance(before, dict):
        return
    begun = provenance_then.get("id")
    if begun not in (None, loop.id):
        text = f"recipe.yaml was edited since the run began ({shown(str(begun))} then, {loop.id} now)"
        warn(f"{text}: the result will belong to neither recipe")
    now = provenance(loop.learner.hardware)["packages"]
    changed = [f"{name} {shown(str(before[name]))} -> {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
    if changed:
        warn(f"packages have changed since the run began: {', '.join(changed)}")


def _notice(loop: Loop, text: str) -> None:
    loop.folder.event("notice", text=text)
    loop.progress.note(f"notice: {text}")


def _train(loop: Loop, prepare: Callable[[Loop], None], mirrors: Mirrors) -> dict[str, Any]:
    """Run the loop and record in the folder how it ends."""
    folder = loop.folder
    try:
        prepare(loop)
        mirrors.start()
        status: str = loop.run()
    except KeyboardInterrupt:
        status = "interrupted"
    except Exception as error:
        if isinstance(error, UserError) and not loop.has_begun:
            raise  # the checkpoints do not fit the recipe: the run itself is unharmed
        if isinstance(error, DiskFull):
            error.add_note(f"earlier checkpoints are intact; once there is room, resume with: {resume_command(folder.path)}")
        elif saved := checkpoints(folder.checkpoints):
            error.add_note(f"last checkpoint: {saved[-1]}; once the cause is fixed, resume with: {resume_command(folder.path)}")
        with contextlib.suppress(OSError):  # the disk may be full
            write_atomically(folder.path / "traceback.txt", traceback.format_exc())
            error.add_note(f"traceback: {folder.path / 'traceback.txt'}")
            folder.event("failed", error=f"{type(error).__name__}: {error}")
            folder.write_json("summary.json", summarise(loop, "failed", folder.wall_s))
        raise
    summary = summarise(loop, status, folder.wall_s)
    folder.event(status)
    folder.write_json("summary.json", summary)
    return summary


def summarise(loop: Loop, status: str, wall_s: float) -> dict[str, Any]:
    """The content of ``summary.json``.

    ``return_auc`` is the area under the curve of ``return_last_100`` against env steps, divided by the steps: the curve's mean.
    ``collapsed`` is the verdict at the end, and ``collapsed_at`` the env steps at which the embedding was first found collapsed.
    ``below_paper_variance`` is the paper's own measure at the end: a variance below 1e-7. ``seconds`` says where ``wall_s`` went.
    """
    history, latest = loop.history, loop.history.latest
    return {
        "id": loop.id,
        "parent": loop.recipe.parent,
        "status": status,
        "env_steps": history.env_steps,
        **loop.frames,
        "updates": loop.learner.updates,
        "episodes": history.episodes,
        "return_last_100": history.return_last(100),
        "return_last_20": history.return_last(20),
        "return_auc": fmean(history.return_curve) if history.return_curve else None,
        "embedding_variance": latest.get("embedding/variance"),
        "embedding_mean_square": latest.get("embedding/mean_square"),
        "embedding_rank": latest.get("embedding/rank"),
        "below_paper_variance": None if latest.get("embedding/variance") is None else below_paper_variance(latest["embedding/variance"]),
        "collapsed": loop.state.watch.collapsed,
        "collapsed_at": loop.state.watch.collapsed_at,
        "steps_per_second": round(history.env_steps / max(wall_s, 1e-3), 1),
        "wall_s": wall_s,
        "seconds": {part: round(spent, 2) for part, spent in _budget(history.seconds, wall_s).items()},
    }


def _budget(seconds: dict[str, float], wall_s: float) -> dict[str, float]:
    """The wall-clock time by part; ``other`` is what no part has taken: start-up, records, TorchRL's collector."""
    return {**seconds, "other": max(0.0, wall_s - sum(seconds.values()))}

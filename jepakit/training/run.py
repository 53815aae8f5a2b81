"""One run: choose its folder, train, and record how it ends."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torchrl.envs import EnvBase

from jepakit.components.shared import ranks
from jepakit.errors import UserError
from jepakit.files.data import digest_of_data
from jepakit.files.writing import DiskFull, partials, write_atomically
from jepakit.machine.generators import alone
from jepakit.machine.group import first_says, joined, on_first
from jepakit.machine.hardware import settle
from jepakit.machine.interrupt import graceful_stop
from jepakit.recipe import AnyRecipe, Overrides, Recipe, load_recipe, recipe_id
from jepakit.recipe.identity import data_read, files_read, source_digests, weights_digests
from jepakit.storage.elsewhere import WrittenElsewhere
from jepakit.storage.folder import FolderGone, RunFolder, read_provenance, read_summary, refuse_read_only, refuse_taken
from jepakit.storage.lock import holder, is_locked
from jepakit.storage.manifest import checkpoints, newest_whole
from jepakit.storage.mirror import Mirrors
from jepakit.storage.provenance import differences, provenance
from jepakit.storage.stored import ranks_of, resume_command, stored_recipe
from jepakit.training.build import build_env, build_learner
from jepakit.training.experience.share import seed_share, share_of
from jepakit.training.experience.sources import build_source
from jepakit.training.extend import extended
from jepakit.training.learner import Learner
from jepakit.training.loop import Loop
from jepakit.training.monitoring.summary import summarise
from jepakit.training.progress import Mute, progress_for
from jepakit.training.rehearsal import rehearse, whole_batches
from jepakit.training.state import RunState, put_back, why_inexact

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
    with _one_at_a_time(), joined():
        if not isinstance(recipe, Recipe) or overrides or seed is not None:
            recipe = load_recipe(recipe, overrides, seed)
        return _run(recipe, Path(out) if out is not None else None, quiet)


_training = threading.Lock()  #: held while a run trains


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let no other run train in this process, and none in torch's settings that no run can train with.

    Raises:
        UserError: This process trains already, or another thread of it plays, or torch is set so.
    """
    if torch.get_default_dtype() != torch.float32:
        raise UserError(f"this process's default dtype is {torch.get_default_dtype()}: call torch.set_default_dtype(torch.float32) first")
    if torch.is_inference_mode_enabled():
        raise UserError("a run trains, which torch.inference_mode() forbids: call it outside")
    with alone():
        if not _training.acquire(blocking=False):
            raise UserError("this thread is in the midst of another run: train one after the other, or each in a process of its own")
        try:
            with torch.enable_grad():
                yield
        finally:
            _training.release()


def _run(recipe: Recipe, out: Path | None, quiet: bool) -> RunResult:
    if recipe.sweep:
        advice = "run them all with `jepakit ablate`, or the recipe as it is with `--set sweep=null`"
        raise recipe.error("sweep", f"this recipe is a sweep of {recipe.sweep.size:,} runs", advice)
    if recipe.parent:
        raise recipe.error("parent", "this run extended another run's checkpoint: a run from the start has no parent", "leave `parent` out")
    recipe, hardware = settle(recipe)
    share = share_of(recipe)
    path = out or RUNS / recipe.name / recipe_id(recipe)

    def earlier() -> RunResult | None:
        if out is None and path.exists():
            return _earlier_run(path)
        refuse_taken(path)
        refuse_read_only(path)
        return None

    if found := first_says(earlier):
        return found
    with contextlib.closing(build_env(share)) as env:
        notices = rehearse(recipe, env, hardware).notices
        seed_share(env, recipe.seed)
        learner = build_learner(recipe, env, hardware, path / "replay", source=build_source(recipe, env))
        if found := first_says(earlier):  # created meanwhile by another process
            return found
        with contextlib.closing(on_first(lambda: RunFolder.create(path)) or WrittenElsewhere(path)) as folder:
            return _trained(recipe, env, learner, folder, partial(_begin, notices=notices), quiet)


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
    with _one_at_a_time(), joined():
        return _resume(Path(path), total_steps, trust, quiet)


def _resume(path: Path, total_steps: int | None, trust: bool, quiet: bool) -> RunResult:
    if total_steps is not None:
        path = first_says(lambda: extended(path, total_steps, trust, warnings.warn))
    summary = first_says(lambda: read_summary(path))
    if summary and summary["status"] in ENDED_AS_MEANT:
        return RunResult(path, summary, fresh=False)
    recipe, hardware = settle(stored_recipe(path, trust))
    _expect_as_many_ranks(path)
    share = share_of(recipe)
    with (
        contextlib.closing(on_first(lambda: RunFolder.reopen(path)) or WrittenElsewhere(path)) as folder,
        contextlib.closing(build_env(share)) as env,
    ):
        seed_share(env, recipe.seed)
        learner = build_learner(recipe, env, hardware, path / "replay", source=build_source(recipe, env))
        return _trained(recipe, env, learner, folder, _go_on, quiet)


def _expect_as_many_ranks(path: Path) -> None:
    """Refuse to go on with another number of ranks: each has simulators and random numbers of its own.

    Raises:
        UserError: The run in folder ``path`` began with another number.
    """
    begun = ranks_of(path)
    if begun != ranks.size():
        raise UserError(f"{path} was begun by {begun} ranks, and {ranks.size()} cannot go on with it: `{resume_command(path)}`")


def _trained(recipe: Recipe, env: EnvBase, learner: Learner, folder: RunFolder, prepare: Callable[[Loop], None], quiet: bool) -> RunResult:
    """Train in ``folder`` with everything that stands around it: display, signals, mirrors."""
    path, is_writer = folder.path, ranks.rank() == 0
    with (
        progress_for(f"{recipe.name} -> {path}", whole_batches(recipe, env), quiet=quiet) if is_writer else Mute() as progress,
        graceful_stop(progress.note) as stop_requested,
        contextlib.closing(Mirrors(recipe.sinks if is_writer else (), path, progress.warn)) as mirrors,
    ):
        loop = Loop(RunState(recipe, env, learner, folder), progress, stop_requested)
        return RunResult(path, _train(loop, prepare, mirrors), fresh=True)


def _earlier_run(path: Path) -> RunResult:
    summary = read_summary(path)
    if summary and summary["status"] in ENDED_AS_MEANT:
        if (trained := read_provenance(path).get("ranks", 1)) != ranks.size():
            wrong = f"the run in {path} is finished, but trained on {trained} ranks, not on {ranks.size()}"
            raise UserError(f"{wrong}, and results depend on their number: name another folder with --out DIR")
        return RunResult(path, summary, fresh=False)
    if is_locked(path):
        raise UserError(f"{path}: this run is already running there ({holder(path)})")
    if not (path / "recipe.yaml").exists():
        raise UserError(f"{path} is this run's folder, but holds no run: remove it, or name another folder with --out DIR")
    state = summary["status"] if summary else "it was killed"
    raise UserError(
        f"{path} holds this run, unfinished ({state}): resume it with `{resume_command(path)}`, or name another folder with --out DIR"
    )


def _begin(loop: Loop, notices: Sequence[str]) -> None:
    """Write a new run's provenance, first events, and last its recipe: what has a recipe can be resumed, and has the others."""
    folder = loop.folder
    code: dict[str, Any] = {"id": loop.id, "sources": source_digests(loop.recipe)}
    if begun := {place: str(file) for place, file in files_read(loop.recipe).items()}:
        code |= {"weights": begun, "weights_sha256": weights_digests(loop.recipe)}
    if data := _digests(loop.recipe):
        code["data"] = data
    drawing = {"drawing": loop.env.drawing} if hasattr(loop.env, "drawing") else {}
    folder.write_json("provenance.json", provenance(loop.learner.hardware) | {"ranks": ranks.size()} | code | drawing)
    folder.event("start", pid=os.getpid(), host=platform.node())
    for plugin in loop.recipe.loaded_plugins:
        if plugin.failure:
            folder.event("warning", text=f"the plug-in `{plugin.name}` cannot be imported: {plugin.failure}")
    for notice in notices:
        _notice(loop, notice)
    if why := why_inexact(loop.state):
        _notice(loop, f"{why}: a resumed run begins new episodes")
    folder.write_recipe(loop.recipe)


def _go_on(loop: Loop) -> None:
    """Restore the loop and its folder to the newest intact checkpoint."""
    folder = loop.folder

    def warn(text: str) -> None:
        folder.event("warning", text=text)
        loop.progress.warn(text)

    newest = first_says(lambda: newest_whole(folder.checkpoints, warn, folder.replay if loop.state.frames else None))
    if newest:
        lost = put_back(loop.state, newest)
    else:
        lost = []
        folder.go_on_from(0, 0.0)
    on_first(lambda: _clear_away(folder, newest))
    told = {"env_steps": loop.history.env_steps, "pid": os.getpid(), "host": platform.node()}
    folder.event("resume", **told, checkpoint=newest.name if newest else None)
    loop.progress.resume(loop.history.env_steps)
    for text in lost:
        _notice(loop, text)
    _compare_with_the_start(loop, warn)


def _clear_away(folder: RunFolder, newest: Path | None) -> None:
    """Remove what a run that goes on from ``newest`` will write anew."""
    for later in checkpoints(folder.checkpoints):  # corrupt, and in the way of new ones
        if newest is None or later > newest:
            shutil.rmtree(later)
    for name in ("summary.json", "traceback.txt"):
        (folder.path / name).unlink(missing_ok=True)
    for name in ("recipe.yaml", "provenance.json", "summary.json", "traceback.txt"):
        for left in partials(folder.path / name):  # by a kill
            left.unlink(missing_ok=True)


def _compare_with_the_start(loop: Loop, warn: Callable[[str], None]) -> None:
    now = provenance(loop.learner.hardware) | {"id": loop.id, "sources": source_digests(loop.recipe), "data": _digests(loop.recipe)}
    for text in differences(read_provenance(loop.folder.path), now, data_read(loop.recipe)):
        warn(text)


def _digests(recipe: Recipe) -> dict[str, str | None]:
    return {place: digest_of_data(path) for place, path in data_read(recipe).items()}


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
        trace = traceback.format_exc()  # without the advice below: its last line is the error
        if isinstance(error, UserError | PermissionError) and not loop.has_begun:
            raise  # the checkpoints do not fit the recipe, or cannot be read: the run itself is unharmed
        if isinstance(error, FolderGone):
            error.add_note("nothing was written there since")
            raise
        if ranks.rank():
            error.add_note(f"on rank {ranks.rank()} of {ranks.size()}")
            raise  # the first rank then has lost this one, and records that
        if isinstance(error, DiskFull):
            error.add_note(f"earlier checkpoints are intact; once there is room, resume with: {resume_command(folder.path)}")
        elif saved := checkpoints(folder.checkpoints):
            error.add_note(f"last checkpoint: {saved[-1]}; once the cause is fixed, resume with: {resume_command(folder.path)}")
        with contextlib.suppress(OSError):  # the disk may be full
            write_atomically(folder.path / "traceback.txt", trace)
            error.add_note(f"traceback: {folder.path / 'traceback.txt'}")
            folder.event("failed", error=f"{type(error).__name__}: {error}")
            folder.write_json("summary.json", summarise(loop, "failed", folder.wall_s))
        raise
    summary = summarise(loop, status, folder.wall_s)
    folder.event(status)
    folder.write_json("summary.json", summary)
    return summary

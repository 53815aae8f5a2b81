"""Extends a finished run: a new run that starts from the other's newest checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from jepakit.errors import UserError
from jepakit.files.data import digest_of_data
from jepakit.files.writing import DiskFull, needing, partial_of, partials
from jepakit.machine.hardware import settle
from jepakit.recipe import load_recipe, recipe_id
from jepakit.recipe.identity import data_read, source_digests
from jepakit.storage.folder import RunFolder, read_provenance
from jepakit.storage.lock import Lock, holder, is_locked
from jepakit.storage.manifest import CONTENT, named_frames, newest_whole
from jepakit.storage.provenance import EDITED, code_was_edited
from jepakit.storage.stored import stored_recipe


def extended(run: Path, total_steps: int, trust: bool, warn: Callable[[str], object]) -> Path:
    """Create the folder of a new run that continues ``run`` up to ``total_steps`` env steps; ``run`` itself is not changed.

    The new run has its own id, records its parent, and lies beside it. Its folder holds copies of the newest checkpoint, of the replay's
    frames and of the metrics so far. Schedules follow the new total, so the past learning rates differ from those of a run that had this
    length from the start.

    Args:
        run: A run's folder.
        total_steps: Total env steps, including those of ``run``.
        trust: Whether to run the plug-ins that its recipe names.
        warn: Called with a message for each corrupt checkpoint, and if code was edited.

    Returns:
        The new run's folder, to be resumed; it may already exist.

    Raises:
        UserError: ``run`` has no intact checkpoint, is running, or has already made that many steps.
    """
    recipe, _ = settle(stored_recipe(run, trust))
    if is_locked(run):
        raise UserError(f"{run} is running ({holder(run)}): wait for it to end, or interrupt it, before you extend it")
    edited = code_was_edited(read_provenance(run), source_digests(recipe))
    if edited:
        warn(f"{EDITED} since {run} began: the longer run goes on with the new code")
    newest = newest_whole(run / "checkpoints", warn, run / "replay")
    if newest is None:
        raise UserError(f"{run} has no intact checkpoint to start from")
    steps = int(newest.name)
    if total_steps <= steps:
        raise UserError(f"--total-steps {total_steps}: {run} has already made {steps:,} env steps; write a larger number")
    for place, folder_of_data in data_read(recipe).items():
        if digest_of_data(folder_of_data) is None:
            raise recipe.error(place, f"{folder_of_data} is not there", "put the data back: the run has learned from them")
    new, _ = settle(load_recipe(recipe, {"total_steps": total_steps, "parent": f"{recipe_id(recipe)}@{steps}"}))
    id = recipe_id(new)
    final = Path(os.path.normpath(run / ".." / id))  # as relative as the user has written `run`
    if final.exists():
        return final
    for left in partials(final):
        if not is_locked(left):  # by a process that copies at this moment
            shutil.rmtree(left, ignore_errors=True)
    partial = partial_of(final)
    partial.mkdir()
    folder = RunFolder(partial, Lock(partial))
    files = [newest / name for name in ("manifest.json", *CONTENT)] + [run / "replay" / name for name in named_frames(newest)]
    files += [metrics] if (metrics := run / "metrics.jsonl").is_file() else []  # without, a resume says what it lacks
    try:
        with needing(sum(file.stat().st_size for file in files), "a copy of the run", partial.parent, partial):
            folder.write_recipe(new)
            for file in files:
                copy = partial / file.relative_to(run)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
    except DiskFull as full:
        raise UserError(str(full)) from full
    folder.write_json("provenance.json", read_provenance(run) | {"id": id, "sources": source_digests(new), "parent": new.parent})
    folder.event("extend", parent=new.parent, env_steps=steps, total_steps=total_steps)
    if edited:
        folder.event("warning", text=f"{EDITED} since {new.parent}")
    folder.close()
    try:
        partial.rename(final)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        if not final.exists():
            raise
    return final  # another process may have made it meanwhile

"""A finished run, extended: a new run that begins where the other's newest checkpoint ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from jepakit.errors import UserError
from jepakit.files.reading import read_text
from jepakit.machine.hardware import settle
from jepakit.recipe import load_recipe, recipe_id
from jepakit.storage.folder import RunFolder
from jepakit.storage.lock import is_locked
from jepakit.storage.manifest import named_frames, newest_whole
from jepakit.storage.stored import stored_recipe


def extended(run: Path, total_steps: int, trust: bool, warn: Callable[[str], object]) -> Path:
    """Make the folder of a run that goes on with ``run`` to ``total_steps`` env steps; ``run`` itself stays as it is.

    The new run has an id of its own, which remembers its parent, and lies beside it. It holds a copy of the newest checkpoint, of the
    replay's frames and of the metrics up to there. Schedules follow the new total: the learning rate is not what it would have been in a
    run of that length from the start.

    Args:
        run: A run's folder.
        total_steps: Env steps in all, those of ``run`` included.
        trust: Whether to run the plug-ins that its recipe names.
        warn: Told of corrupt checkpoints.

    Returns:
        The new run's folder, to be resumed; it may have been there before.

    Raises:
        UserError: ``run`` has no whole checkpoint, is running, or has made as many steps already.
    """
    recipe, _ = settle(stored_recipe(run, trust))
    if is_locked(run):
        raise UserError(f"{run} is running: wait for its end, or interrupt it, before it is extended")
    newest = newest_whole(run / "checkpoints", warn, run / "replay")
    if newest is None:
        raise UserError(f"{run} has no whole checkpoint to go on from")
    steps = int(newest.name)
    if total_steps <= steps:
        raise UserError(f"--total-steps {total_steps}: {run} has made {steps:,} env steps already; write more")
    new, _ = settle(load_recipe(recipe, {"total_steps": total_steps, "parent": f"{recipe_id(recipe)}@{steps}"}))
    id = recipe_id(new)
    final = run.absolute().parent / id
    if final.exists():
        return final
    partial = final.with_name(f".{id}.partial")
    if partial.exists():  # a kill cut the copying short
        shutil.rmtree(partial)
    partial.mkdir()
    folder = RunFolder(partial)
    folder.write_recipe(new)
    shutil.copytree(newest, folder.checkpoints / newest.name)
    for name in named_frames(newest):
        folder.replay.mkdir(exist_ok=True)
        shutil.copyfile(run / "replay" / name, folder.replay / name)
    shutil.copyfile(run / "metrics.jsonl", partial / "metrics.jsonl")
    try:
        before = dict(json.loads(read_text(run / "provenance.json")))
    except (OSError, ValueError, RecursionError):
        before = {}
    folder.write_json("provenance.json", before | {"id": id, "parent": new.parent})
    folder.event("extend", parent=new.parent, env_steps=steps, total_steps=total_steps)
    folder.close()
    partial.rename(final)
    return final

"""Reads a run's folder: its recipe, without running code that came with it, and its checkpoints."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from shlex import quote

from jepakit.errors import UserError
from jepakit.files.reading import walk
from jepakit.recipe import Recipe, load_recipe
from jepakit.recipe.load import code_named, draft_recipe
from jepakit.storage.folder import read_provenance
from jepakit.storage.manifest import Corrupt, best_checkpoint, newest_whole, verify

MAX_NAMED = 3  #: runs that a message names
MAX_FOLDERS = 1_000  #: searched for them


def stored_recipe(run: Path, trust: bool = False) -> Recipe:
    """The recipe of the run in folder ``run``.

    Args:
        run: A run's folder.
        trust: Whether to run the plug-ins that the recipe names, which may have come with the folder.

    Raises:
        UserError: ``run`` is not a run's folder, or its recipe names code and is not trusted.
    """
    path = run / "recipe.yaml"
    if not path.is_file():
        if (run / "events.jsonl").is_file():
            raise UserError(f"{run} has no recipe.yaml: the run was killed before its first step; remove the folder and run it again")
        raise UserError(f"{run} {_why_no_run(run)}")
    if not trust:
        named = _code(path)
        if named:
            raise UserError(f"{path} names code to run: {', '.join(named)}; if you trust it, add --trust")
    return load_recipe(path)


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """The run folders at and below ``paths``, each once, in any state.

    Raises:
        UserError: There is none at or below one of them.
    """
    found: dict[Path, None] = {}
    for path in paths:
        below = [path] if (path / "recipe.yaml").is_file() else list(_runs_below(path)) if path.is_dir() else []
        if not below:
            raise UserError(f"{path} {_why_no_run(path)}")
        found |= dict.fromkeys(below)
    return list(found)


def _runs_below(folder: Path, most: int | None = None) -> Iterator[Path]:
    """The runs in the first ``most`` folders at and below ``folder``; None: in all of them."""
    for found, below, files in itertools.islice(walk(folder), most):
        if "recipe.yaml" in files and "events.jsonl" in files:
            below.clear()
            yield found


def _why_no_run(folder: Path) -> str:
    if not folder.exists():
        return "does not exist"
    if not folder.is_dir():
        return "is a file: name a run's folder"
    below = list(_runs_below(folder, MAX_FOLDERS))
    more = f" and {len(below) - MAX_NAMED} more" if len(below) > MAX_NAMED else ""
    runs = f"; runs beneath it: {', '.join(map(str, below[:MAX_NAMED]))}{more}" if below else ""
    return f"is not a run's folder: it has no recipe.yaml{runs}"


def chosen_checkpoint(run: Path, best: bool = False, warn: Callable[[str], object] = lambda _: None) -> Path:
    """The newest intact checkpoint of the run in folder ``run``, or the best one (`best_checkpoint`).

    Raises:
        UserError: There is none, or the best is corrupt.
    """
    saved = best_checkpoint(run / "checkpoints") if best else newest_whole(run / "checkpoints", warn)
    if not saved:
        if best and newest_whole(run / "checkpoints", warn):
            raise UserError(f"no checkpoint of {run} has a return, so none is the best: use the newest weights")
        raise UserError(f"{run} has no intact checkpoint")
    try:
        if best:
            verify(saved)
    except Corrupt as damage:
        raise UserError(f"{saved} is corrupt ({damage}): use the newest weights instead of the best") from None
    return saved


def resume_command(run: Path) -> str:
    """The command that resumes the run in folder ``run``, whose code this process has already run."""
    return f"{together(ranks_of(run))}jepakit resume {quote(str(run))}" + (" --trust" if _code(run / "recipe.yaml") else "")


def together(ranks: int) -> str:
    """What stands before ``jepakit`` to start a command on several ranks; nothing for one."""
    return f"torchrun --nproc-per-node {ranks} -m " if ranks > 1 else ""


def ranks_of(run: Path) -> int:
    """How many ranks the run in folder ``run`` began with."""
    ranks = read_provenance(run).get("ranks", 1)
    return ranks if isinstance(ranks, int) else 1


def _code(path: Path) -> list[str]:
    """The code that a recipe and all it extends would run."""
    return code_named(draft_recipe(path, run_plugins=False).tree.plain())

"""A run's folder, opened again: its recipe, without running code that came with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shlex import quote

from jepakit.errors import UserError
from jepakit.recipe import Recipe, load_recipe
from jepakit.recipe.load import draft_recipe
from jepakit.storage.manifest import Damaged, best_checkpoint, newest_whole, verify


def stored_recipe(run: Path, trust: bool = False) -> Recipe:
    """The recipe of the run in folder ``run``.

    Args:
        run: A run's folder.
        trust: Whether to run the plug-ins that it names, which its folder may have brought along.

    Raises:
        UserError: It is no run's folder, or its recipe names code and is not trusted.
    """
    path = run / "recipe.yaml"
    if not path.is_file():
        if (run / "events.jsonl").is_file():
            raise UserError(f"{run} has no recipe.yaml: it was killed before its first step; remove it, and run it again")
        raise UserError(f"{run} is not a run's folder: it has no recipe.yaml")
    if not trust:
        named = _code(path)
        if named:
            raise UserError(f"{path} names code that would be run: {', '.join(named)}; if you trust it, add --trust")
    return load_recipe(path)


def chosen_checkpoint(run: Path, best: bool = False, warn: Callable[[str], object] = lambda _: None) -> Path:
    """The newest whole checkpoint of the run in folder ``run``, or the one with the best return of the last 100 training episodes.

    Raises:
        UserError: There is none, or the best is damaged.
    """
    saved = best_checkpoint(run / "checkpoints") if best else newest_whole(run / "checkpoints", warn)
    if not saved:
        raise UserError(f"{run} has no whole checkpoint")
    try:
        if best:
            verify(saved)
    except Damaged as damage:
        raise UserError(f"{saved} is damaged ({damage}): take the newest weights instead of the best") from None
    return saved


def resume_command(run: Path) -> str:
    """What goes on with the run in folder ``run``, which this process has run."""
    return f"jepakit resume {quote(str(run))}" + (" --trust" if _code(run / "recipe.yaml") else "")


def _code(path: Path) -> list[str]:
    """What a recipe, with all that it extends, asks to import: plug-ins, and the module of an env's id."""
    plain = draft_recipe(path, run_plugins=False).tree.plain()
    plugins = plain.get("plugins") or []
    named = [f"the plug-in `{entry}`" for entry in (plugins if isinstance(plugins, list) else [plugins])]
    env = plain.get("env")
    id = env.get("id") if isinstance(env, dict) else None
    if isinstance(id, str) and ":" in id:
        named.append(f"the module `{id.partition(':')[0]}` of the env's id")
    return named

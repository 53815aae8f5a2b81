"""``best.yaml``: the recipe with the values of the best trial, to run again with other seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from jepakit.files.writing import write_atomically
from jepakit.recipe import Overrides, Recipe, RecipeError, dump, load_recipe, recipe_id, shipped_recipes
from jepakit.recipe.compose import override_texts
from jepakit.recipe.dump import flow
from jepakit.recipe.errors import Source
from jepakit.recipe.yaml12 import read_yaml
from jepakit.tuning.candidates import Candidates
from jepakit.tuning.result import Trial


def write_best(trial: Trial, candidates: Candidates, path: Path) -> None:
    """Write a recipe that extends the study's with a trial's values; if that cannot say it, the whole recipe.

    Args:
        trial: The trial.
        candidates: The recipe and its space.
        path: The file.
    """
    wanted = candidates.recipe(candidates.space.draw(lambda name, _: trial.params[name])) if trial.number else candidates.base
    heading = f"# Trial {trial.number} of a study of `{candidates.base.name}`.\n"
    if candidates.draft.tree.place.source.is_file:
        write_atomically(path, heading + _extending(trial, candidates, path.parent))
        with suppress(RecipeError):
            if recipe_id(load_recipe(path)) == recipe_id(wanted):
                return
        # an entry of a list, for example, cannot be written by itself
    write_atomically(path, heading + dump(_with_plugins_where_they_are(wanted)))


def _extending(trial: Trial, candidates: Candidates, folder: Path) -> str:
    """The study's recipe, its overrides, and the trial's values."""
    values: dict[str, Any] = {"name": candidates.base.name, "threads": candidates.base.threads}
    for path, value in [*_plain(candidates.overrides), *trial.settings.items()]:
        _lay(values, path.split("."), value)
    file = Path(candidates.draft.tree.place.source.name).resolve()
    shipped = {path.resolve(): name for name, path in shipped_recipes().items()}
    named = shipped.get(file) or os.path.relpath(file, folder.resolve())
    return f"extends: {flow(named)}\n" + "".join(f"{key}: {flow(value)}\n" for key, value in values.items())


def _plain(overrides: Overrides) -> Iterator[tuple[str, Any]]:
    for _, text in override_texts(overrides, None):
        path, _, value = text.partition("=")
        node = read_yaml(Source("", value, Path()), [])
        yield path, node.plain() if node else None


def _lay(values: dict[str, Any], steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        inner = values.setdefault(step, {})
        if not isinstance(inner, dict):
            inner = values[step] = {}
        values = inner
    values[steps[-1]] = value


def _with_plugins_where_they_are(recipe: Recipe) -> Recipe:
    entries = tuple(str(plugin.file) if plugin.file else plugin.name for plugin in recipe.loaded_plugins)
    return recipe.with_values({"plugins": entries})

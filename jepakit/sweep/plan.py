"""The runs of a sweep, each with its id, as this machine would run them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jepakit.errors import UserError
from jepakit.machine.hardware import settle, usable_cores
from jepakit.recipe import AnyRecipe, Overrides, Recipe, recipe_id
from jepakit.sweep.variants import expand_recipe
from jepakit.training.build import build_env
from jepakit.training.rehearsal import rehearse


@dataclass(frozen=True)
class Planned:
    """One run of a sweep."""

    label: str  #: its configuration's
    seed: int
    recipe: Recipe  #: hardware resolved
    id: str

    @property
    def threads(self) -> int:
        """CPU threads that it takes."""
        return int(self.recipe.threads)


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, one configuration after the other, none twice."""

    name: str  #: the recipe's, and of the folder that holds the runs
    runs: tuple[Planned, ...]
    notes: tuple[str, ...] = ()  #: worth telling the user

    def jobs(self) -> int:
        """Runs at a time that use this machine's cores best: as many as have a core for each of their threads."""
        if any(run.recipe.device != "cpu" for run in self.runs):
            return 1  # they would share one accelerator
        return max(1, usable_cores() // max(run.threads for run in self.runs))


def load_sweep(
    recipe: AnyRecipe,
    overrides: Overrides = (),
    over: Sequence[str] = (),
    seeds: int | Sequence[int] | None = None,
    threads: int | None = None,
) -> Plan:
    """Every run of a recipe's sweep, validated; of a recipe without one, the run that it is.

    Args:
        recipe: A file, the name of a shipped recipe, a mapping or a loaded recipe.
        overrides: ``path.to.field=value``, or values by path; laid on the recipe before its sweep.
        over: ``path.to.field=value1,value2``, each an axis of the grid, in place of one of that path.
        seeds: In place of the sweep's own: how many from the recipe's seed on, or which.
        threads: Of each run, unless an override or the sweep says how many.

    Raises:
        RecipeError: A run is wrong; every mistake that could be found in any of them, each with its place.
    """
    name, configurations = expand_recipe(recipe, overrides, over, seeds, threads)
    runs: dict[str, Planned] = {}
    notes: dict[str, None] = {}
    for configuration in configurations:
        for one in configuration.runs:
            settled, _ = settle(one)
            planned = Planned(configuration.label or name, settled.seed, settled, recipe_id(settled))
            same = runs.setdefault(planned.id, planned)
            if same is not planned:
                twice = "is written twice" if same.label == planned.label else f"is the same run as `{same.label}`"
                notes[f"`{planned.label}`, seed {one.seed}, {twice}: run once"] = None
    notes |= dict.fromkeys(_scalings(runs.values()))
    return Plan(name, tuple(runs.values()), tuple(notes))


def _scalings(runs: Iterable[Planned]) -> Iterator[str]:
    """A notice where the encoders of a sweep see pixels differently because their kinds have different defaults."""
    encoders = {run.label: run.recipe for run in runs}
    seen = {label: str(scaling) for label, recipe in encoders.items() if (scaling := getattr(recipe.encoder, "scaling", None))}
    if len(set(seen.values())) > 1 and any(encoders[label].origin("encoder.scaling") is None for label in seen):
        told = ", ".join(f"`{label}` {scaling}" for label, scaling in seen.items())
        yield f"the configurations differ in input scaling, too ({told}): write `encoder.scaling` in each to say which is meant"


def rehearse_runs(runs: Iterable[Planned]) -> int:
    """Push a fake batch through the first run of each configuration, and say how many configurations there are.

    Raises:
        UserError: One does not fit together.
    """
    firsts: dict[str, Planned] = {}
    for run in runs:
        firsts.setdefault(run.label, run)
    for run in firsts.values():
        recipe, hardware = settle(run.recipe)
        try:
            with contextlib.closing(build_env(recipe)) as env:
                rehearse(recipe, env, hardware)
        except UserError as error:
            raise UserError(f"{error}\n    in the configuration `{run.label}`") from error
    return len(firsts)

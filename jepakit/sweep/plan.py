"""The runs of a sweep with their ids, resolved for this machine."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jepakit.components.engines.processes import visible_gpus
from jepakit.errors import UserError
from jepakit.machine.hardware import settle, usable_cores
from jepakit.recipe import AnyRecipe, Overrides, Recipe, recipe_id
from jepakit.recipe.identity import makers, used_components
from jepakit.registry.plugins import installed_names
from jepakit.sweep.variants import expand_recipe
from jepakit.training.build import build_env
from jepakit.training.rehearsal import rehearse


@dataclass(frozen=True)
class Planned:
    """One run of a sweep."""

    label: str  #: its configuration's label
    seed: int
    recipe: Recipe  #: with device, precision and threads resolved
    id: str

    @classmethod
    def of(cls, label: str, recipe: Recipe) -> Planned:
        """A run of ``recipe``, resolved for this machine."""
        settled, _ = settle(recipe)
        return cls(label, settled.seed, settled, recipe_id(settled))

    @property
    def threads(self) -> int:
        """CPU threads that it uses at once on this machine: its own, or one for each process that acts or steps simulators.

        With ``processes: auto`` a run takes the cores that it finds free, and needs one.
        """
        recipe, collector = self.recipe, self.recipe.collector
        if getattr(collector.component.cls, "on_cluster", False):
            return int(recipe.threads)
        workers: int = getattr(collector, "workers", 1)
        most = max(1, getattr(recipe.env, "num_envs", 1) // workers)
        return max(int(recipe.threads), workers * (1 if recipe.processes == "auto" else min(recipe.processes, most)))


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, grouped by configuration, each once."""

    name: str  #: the recipe's name, which is also the name of the folder that holds the runs
    runs: tuple[Planned, ...]
    notes: tuple[str, ...] = ()  #: notices for the user

    def jobs(self) -> int:
        """How many runs at a time suit this machine: every thread has a core of its own, every run on an NVIDIA GPU a GPU."""
        if any(run.recipe.device != "cpu" for run in self.runs):
            alike = all(run.recipe.device == "cuda" for run in self.runs)
            return max(1, len(visible_gpus())) if alike else 1  # they would share one accelerator
        return max(1, usable_cores() // max(run.threads for run in self.runs))

    def jobs_at_the_end(self) -> int:
        """How many runs may share the cores once no more are left, so that no core idles: half as many again, if each has one thread.

        So three runs on two cores take the time of one and a half, and not of two.
        """
        at_a_time = self.jobs()
        shares = all(run.recipe.device == "cpu" and run.threads == 1 for run in self.runs)
        return at_a_time + at_a_time // 2 if shares else at_a_time

    def shard(self, number: int, count: int) -> Plan:
        """Every ``count``-th run, from the ``number``-th on: the shards 1 to ``count`` have no run in common, and together all."""
        return replace(self, runs=self.runs[number - 1 :: count])


def load_sweep(
    recipe: AnyRecipe,
    overrides: Overrides = (),
    over: Sequence[str] = (),
    seeds: int | Sequence[int] | None = None,
    threads: int | None = None,
) -> Plan:
    """Every run of a recipe's sweep, validated. A recipe without a sweep is one run.

    Args:
        recipe: A file, the name of a shipped recipe, a mapping or a loaded recipe.
        overrides: ``path.to.field=value``, or values by path; applied before the sweep.
        over: ``path.to.field=value1,value2``; each adds an axis to the grid, or replaces the axis of that path.
        seeds: How many seeds, counted from the recipe's own, or which seeds; replaces the sweep's ``seeds``.
        threads: Threads of each run, unless an override or the sweep sets them.

    Raises:
        RecipeError: A run's recipe is wrong. It lists every mistake found in any run, each with its place.
    """
    base, configurations = expand_recipe(recipe, overrides, over, seeds, threads)
    runs: dict[str, Planned] = {}
    notes: dict[str, None] = {}
    for configuration in configurations:
        for one in configuration.runs:
            planned = Planned.of(configuration.label or base.name, one)
            same = runs.setdefault(planned.id, planned)
            if same is not planned:
                twice = "is written twice" if same.label == planned.label else f"is the same run as `{same.label}`"
                notes[f"`{planned.label}`, seed {one.seed}, {twice}: run once"] = None
    notes |= dict.fromkeys(_scalings(base, runs.values()))
    return Plan(base.name, tuple(runs.values()), tuple(notes))


def _scalings(base: Recipe, runs: Iterable[Planned]) -> Iterator[str]:
    """A notice if the encoders of a sweep, or they and ``base``, scale pixels differently only because kinds have different defaults."""
    encoders = {run.label: run.recipe for run in runs}
    seen = {label: str(scaling) for label, recipe in encoders.items() if (scaling := getattr(recipe.encoder, "scaling", None))}
    own = str(getattr(base.encoder, "scaling", ""))
    told = [f"the recipe itself {own}"] if own and own not in seen.values() else []
    told += [f"`{label}` {scaling}" for label, scaling in seen.items()]
    if len({own, *seen.values()} - {""}) > 1 and not all(encoders[label].origins("encoder.scaling") for label in seen):
        yield f"the configurations also differ in input scaling ({', '.join(told)}): write `encoder.scaling` in each of them"


def rehearse_runs(runs: Iterable[Planned]) -> int:
    """Push a fake batch through the first run of each configuration, and count the configurations.

    Raises:
        UserError: The parts of a configuration do not fit together, or other processes do not know one of them.
    """
    firsts: dict[str, Planned] = {}
    for run in runs:
        firsts.setdefault(run.label, run)
    for run in firsts.values():
        recipe, hardware = settle(run.recipe)
        try:
            _expect_known_to_others(recipe)
            with contextlib.closing(build_env(recipe)) as env:
                rehearse(recipe, env, hardware)
        except UserError as error:
            raise UserError(f"{error}\n    in the configuration `{run.label}`") from error
    return len(firsts)


def _expect_known_to_others(recipe: Recipe) -> None:
    """Refuse a part that only this process knows. Each run is a process of its own: it imports plug-ins, and what packages offer.

    These may import further modules, so where there are any, only what this script or notebook itself defines is surely unknown.
    """
    script = Path(getattr(sys.modules["__main__"], "__file__", None) or "/nowhere")
    if any(plugin.file and plugin.file.resolve() == script.resolve() for plugin in recipe.loaded_plugins):
        return  # the others import the script itself
    others = recipe.loaded_plugins or installed_names()
    for part in used_components(recipe):
        module = str(part.cls.__module__)
        if module == "__main__" or not (others or module.partition(".")[0] == "jepakit"):
            raise _unknown_to_others(f"the {part.slot} `{part.kind}` ({part.place})")
    if "__main__" in dict(makers(id := str(getattr(recipe.env, "id", "")))):
        raise _unknown_to_others(f"the env `{id}`")


def _unknown_to_others(part: str) -> UserError:
    where = f"{part} is known to this process alone, and each run has its own"
    return UserError(f"{where}: write its class in a file, and name that file in the recipe's `plugins:`")

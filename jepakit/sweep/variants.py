"""Expands a recipe with a sweep into the recipes of its runs: cases × zip × grid × seeds. Every value keeps its place in the file."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jepakit.recipe.compose import Composer, Overrides, can_be_path
from jepakit.recipe.dump import flow
from jepakit.recipe.errors import MAX_TOLD, Place, Problem, RecipeError, Source
from jepakit.recipe.load import AnyRecipe, draft_recipe
from jepakit.recipe.schema import Recipe, Sweep
from jepakit.recipe.tree import Node
from jepakit.recipe.yaml12 import read_yaml

MAX_RUNS = 10_000
MAX_PATHS = 100  #: paths that a sweep may set in one run
NOT_SWEPT = {
    "seed": "write `seeds: [0, 1, 2]` in the sweep, or how many, `seeds: 3`",
    "name": "it names the folder of all runs",
    "plugins": "list the plug-ins of all runs in the recipe's own `plugins`",
    "extends": "write a recipe that extends the other",
    "sweep": "write `cases`, `zip` and `grid` side by side in one sweep",
}


@dataclass(frozen=True)
class Configuration:
    """Runs that differ only in their seeds."""

    label: str  #: the case's name and the values of zip and grid; empty for a recipe without a sweep
    runs: tuple[Recipe, ...]  #: one per seed


@dataclass(frozen=True)
class Setting:
    """A value that a sweep sets in the recipe."""

    path: str
    value: Node
    written: Place  #: where the path is written


def expand_recipe(
    recipe: AnyRecipe,
    overrides: Overrides = (),
    over: Sequence[str] = (),
    seeds: int | Sequence[int] | None = None,
    threads: int | None = None,
    run_plugins: bool = True,
) -> tuple[Recipe, tuple[Configuration, ...]]:
    """Every run of a recipe's sweep, validated. A recipe without a sweep is one run.

    Args:
        recipe: A file, the name of a shipped recipe, a mapping or a loaded recipe.
        overrides: ``path.to.field=value``, or values by path; applied before the sweep.
        over: ``path.to.field=value1,value2``; each adds an axis to the grid, or replaces the axis of that path.
        seeds: How many seeds, counted from the recipe's own, or which seeds; replaces the sweep's ``seeds``.
        threads: Threads of each run, unless an override or the sweep sets them.
        run_plugins: Whether to import plug-ins.

    Returns:
        The recipe that the sweep varies, and its configurations.

    Raises:
        RecipeError: A run's recipe is wrong. It lists every mistake found in any run, each with its place.
    """
    draft = draft_recipe(recipe, overrides, run_plugins=run_plugins)
    tree = draft.tree
    for number, text in enumerate(over, start=1):
        tree = _with_axis(draft.composer, tree, Source(f"--over #{number}", text, Path.cwd(), is_file=False))
    if seeds is not None:
        tree = draft.composer.override(tree, f"sweep.seeds={seeds if isinstance(seeds, int) else list(seeds)}", "--seeds")
    base = replace(draft, tree=tree).validated()
    sweep = base.sweep or Sweep()
    if sweep.size > MAX_RUNS:
        runs = f"{sweep.size:,}" if sweep.size < 10**15 else "more than 10**15"
        raise base.error("sweep", f"this sweep has {runs} runs", f"write at most {MAX_RUNS:,}")
    if (paths := max(map(len, sweep.cases.values()), default=0) + len(sweep.zip) + len(sweep.grid)) > MAX_PATHS:
        raise base.error("sweep", f"this sweep sets {paths:,} values in each run", f"write at most {MAX_PATHS}")
    written = tree.get("sweep") or Node(None, tree.place)
    _refuse(_misplaced(written))
    every_seed = range(base.seed, base.seed + sweep.seeds) if isinstance(sweep.seeds, int) else sweep.seeds
    if every_seed[-1] >= 2**32:
        raise base.error("sweep.seeds", f"the last seed would be {every_seed[-1]}", "a seed must be below 2**32")

    one_run = with_threads(tree.without("sweep"), threads)
    problems: list[Problem] = []
    failed = 0
    configurations = []
    for label, settings in _cells(written):
        composer = Composer(draft.composer.default_kinds)
        try:
            valid = replace(draft, tree=lay_settings(composer, one_run, settings), composer=composer).validated()
            case = label[:300] if sweep.cases else valid.case  # a grid needs no case name: its values tell the runs apart
            seeded = tuple(valid.model_copy(update={"seed": seed, "case": case}) for seed in every_seed)
            configurations.append(Configuration(label, seeded))
        except RecipeError as error:
            problems += error.problems
            failed += 1
            if failed == MAX_TOLD:  # further runs would mostly repeat these mistakes
                break
    _refuse(problems)
    return base, tuple(configurations)


def _with_axis(composer: Composer, tree: Node, source: Source) -> Node:
    """The recipe with one more axis in its sweep's grid."""
    path, equals, values = source.text.partition("=")
    if not equals or not can_be_path(path):
        composer.problems.append(Problem(Place(source), "not an axis: write `path.to.field=value1,value2`"))
        return tree
    source = replace(source, text=f"{path}=[{values}]")
    axis = read_yaml(source, composer.problems, start=len(path) + 1)
    if axis is None:
        return tree
    place = Place(source)
    for key in (path, "grid", "sweep"):
        axis = Node({key: axis}, place, {key: place})
    merged = tree.merged(axis, composer.default_kinds)
    return replace(merged, place=tree.place, keys=merged.keys | tree.keys)


def with_threads(tree: Node, threads: int | None) -> Node:
    """The recipe with its file's ``threads`` replaced. An override of ``threads`` stays."""
    said = tree.get("threads")
    if threads is None or (said and not said.place.source.is_file):
        return tree
    place = Place(Source("--jobs auto", f"threads={threads}", Path.cwd(), is_file=False))
    return tree.with_entry("threads", Node(threads, place))


def _settings(paths: Node | None) -> list[Setting]:
    if paths is None or not isinstance(paths.data, dict):
        return []
    return [Setting(path, value, paths.keys[path]) for path, value in paths.data.items()]


def _cases(sweep: Node) -> dict[str, list[Setting]]:
    cases = sweep.get("cases")
    return {name: _settings(case) for name, case in cases.data.items()} if cases and isinstance(cases.data, dict) else {}


def _axes(sweep: Node, part: str) -> list[list[Setting]]:
    """For each path of ``zip`` or ``grid``, one setting per value."""
    axes = [(setting, setting.value.data) for setting in _settings(sweep.get(part))]
    return [[replace(setting, value=value) for value in values] for setting, values in axes if isinstance(values, list)]


def _cells(sweep: Node) -> Iterator[tuple[str, list[Setting]]]:
    """Each configuration's label and settings."""
    for name, case in (_cases(sweep) or {"": []}).items():
        for side_by_side in list(zip(*_axes(sweep, "zip"), strict=True)) or [()]:
            for combination in itertools.product(*_axes(sweep, "grid")):
                varied = [*side_by_side, *combination]
                values = [f"{setting.path}={flow(setting.value.plain())}" for setting in varied]
                yield ", ".join(filter(None, [name, *values])), [*case, *varied]


def lay_settings(composer: Composer, recipe: Node, settings: Sequence[Setting]) -> Node:
    """The recipe with a configuration's settings applied: a component, or its kind, before its fields."""

    def depth(setting: Setting) -> tuple[int, bool]:
        component = setting.path.removesuffix(".kind")
        return component.count("."), component == setting.path

    for setting in sorted(settings, key=depth):
        steps = setting.path.split(".")
        for length in range(1, len(steps)):
            above = recipe.find(steps[:length])
            if above and above.data is None:
                wrong = f"the sweep sets `{setting.path}` in a run in which `{'.'.join(steps[:length])}` is null"
                composer.problems.append(Problem(setting.written, wrong, f"null is written at {above.place}; use `cases` for the two"))
        recipe = composer.lay(recipe, setting.path, setting.value, setting.written)
    return recipe


def _misplaced(sweep: Node) -> Iterator[Problem]:
    """Paths that a sweep cannot vary, and paths that two of its parts vary."""
    cases = [("cases", setting) for case in _cases(sweep).values() for setting in case]
    axes = [(part, axis[0]) for part in ("zip", "grid") for axis in _axes(sweep, part)]
    parts: dict[str, str] = {}
    for part, setting in [*cases, *axes]:
        path, written = setting.path, setting.written
        if advice := NOT_SWEPT.get(path.partition(".")[0]):
            yield Problem(written, f"a sweep cannot vary `{path}`", advice)
        elif parts.setdefault(path, part) != part:
            yield Problem(written, f"`{path}` stands in both `{parts[path]}` and `{part}`", "keep one of the two")
    yield from _untold(sweep)


def _untold(sweep: Node) -> Iterator[Problem]:
    """Values of cases that replace a part of a value of ``zip`` or ``grid``: a run's label tells that value, and not the case's."""
    axes = [("zip", axis) for axis in _axes(sweep, "zip")] + [("grid", axis) for axis in _axes(sweep, "grid")]
    for setting in itertools.chain(*_cases(sweep).values()):
        for part, axis in axes:
            whole = axis[0].path
            within = setting.path.removeprefix(f"{whole}.")
            if within != setting.path and any(each.value.find(within.split(".")) for each in axis):
                wrong = f"`{setting.path}` stands in both `cases` and, within `{whole}`, `{part}`"
                yield Problem(setting.written, wrong, "keep one of the two")


def _refuse(problems: Iterable[Problem]) -> None:
    if found := list(problems):
        raise RecipeError(found)

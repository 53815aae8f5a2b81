"""A sweep makes each combination one run, with each value at its path. A mistake is reported at its place."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.recipe import AnyRecipe, Recipe, RecipeError, dump, load, load_recipe, recipe_id
from jepakit.recipe.check import retold
from jepakit.recipe.errors import MAX_TOLD
from jepakit.recipe.schema import Sweep
from jepakit.sweep.variants import MAX_RUNS, Configuration, expand_recipe

BASE: dict[str, Any] = {"seed": 7, "env": {"kind": "gym", "id": "CartPole-v1"}, "encoder": {"kind": "vit", "dim": 8}}

#: Paths of different depths and types, and the values that they may take.
AXES = {
    "total_steps": st.integers(1, 10**6),
    "optimizer.lr": st.floats(1e-6, 1.0),
    "encoder.dim": st.integers(1, 512),
    "algorithm.gradients_to_encoder": st.booleans(),
    "env.size": st.sampled_from([[80, 120], [40, 60], None]),
    "jepa.target": st.sampled_from([{"kind": kind, "checkpoint": None} for kind in ("online", "stop_gradient")]),
    "precision": st.sampled_from(["fp32", "bf16"]),
    "regularizers": st.sampled_from([[], [{"kind": "variance", "weight": 2.0}]]),
}


@st.composite
def sweeps(draw: st.DrawFn) -> dict[str, Any]:
    """Sweeps with each path in at most one of `cases`, `zip` and `grid`."""
    paths = draw(st.permutations(list(AXES)))
    sizes = [draw(st.integers(0, 2)) for _ in range(3)]
    in_cases, in_zip, in_grid = (paths[sum(sizes[:part]) : sum(sizes[: part + 1])] for part in range(3))
    length = draw(st.integers(1, 3))
    cases = draw(st.lists(st.sets(st.sampled_from(in_cases)) if in_cases else st.just(set()), max_size=3))
    return {
        "cases": {f"case {number}": {path: draw(AXES[path]) for path in sorted(chosen)} for number, chosen in enumerate(cases)},
        "zip": {path: draw(st.lists(AXES[path], min_size=length, max_size=length)) for path in in_zip},
        "grid": {path: draw(st.lists(AXES[path], min_size=1, max_size=3)) for path in in_grid},
        "seeds": draw(st.integers(1, 3) | st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3)),
    }


def written(folder: Path, sweep: Any, **fields: Any) -> Path:
    file = folder / "swept.yaml"
    file.write_text(yaml.safe_dump(BASE | fields | {"sweep": sweep}, sort_keys=False))
    return file


def value_at(recipe: Recipe, path: str) -> Any:
    value: Any = recipe.model_dump(mode="json")
    for step in path.split("."):
        value = value[step]
    return value


@given(sweeps())
@settings(max_examples=60)
def test_every_combination_is_one_run_with_each_value_at_its_path(tmp_path: Path, sweep: dict[str, Any]) -> None:
    file = written(tmp_path, sweep)
    _, configurations = expand_recipe(file)
    side_by_side = [dict(zip(sweep["zip"], values, strict=True)) for values in zip(*sweep["zip"].values(), strict=True)] or [{}]
    combinations = [dict(zip(sweep["grid"], values, strict=True)) for values in itertools.product(*sweep["grid"].values())]
    cells = list(itertools.product(list(sweep["cases"].values()) or [{}], side_by_side, combinations))
    seeds = sweep["seeds"] if isinstance(sweep["seeds"], list) else list(range(7, 7 + sweep["seeds"]))

    assert len(configurations) == len(cells)
    assert load_recipe(file).sweep.size == len(cells) * len(seeds)  # type: ignore[union-attr]
    base = load_recipe(file, ["sweep=null"])
    for configuration, cell in zip(configurations, cells, strict=True):
        assert [run.seed for run in configuration.runs] == seeds
        chosen = cell[0] | cell[1] | cell[2]
        for run in configuration.runs:
            for path in AXES:
                assert value_at(run, path) == chosen.get(path, value_at(base, path)), path
            assert run.sweep is None


def labels(configurations: tuple[Configuration, ...]) -> list[str]:
    return [configuration.label for configuration in configurations]


def test_a_run_of_a_sweep_equals_a_run_with_the_same_overrides(tmp_path: Path) -> None:
    file = written(tmp_path, {"cases": {"J alone": {"algorithm.gradients_to_encoder": False}}, "grid": {"encoder.dim": [16]}})
    _, (configuration,) = expand_recipe(file)
    by_hand = load_recipe(file, ["sweep=null", "algorithm.gradients_to_encoder=false", "encoder.dim=16"])
    assert recipe_id(configuration.runs[0]) == recipe_id(by_hand)
    assert configuration.runs[0].case == "J alone, encoder.dim=16"  # does not affect results, so the id ignores it
    assert configuration.runs[0] == by_hand.model_copy(update={"case": "J alone, encoder.dim=16"})


def test_paths_in_a_sweep_start_at_the_recipes_folder_also_once_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    targets = [{"kind": "frozen", "checkpoint": "a.safetensors"}, {"kind": "frozen", "checkpoint": "../b.safetensors"}]
    file = written(tmp_path / "recipes", {"grid": {"jepa.target": targets}})
    monkeypatch.chdir(tmp_path)

    def paths(recipe: AnyRecipe) -> list[str]:
        return [os.path.relpath(found.runs[0].jepa.target.checkpoint) for found in expand_recipe(recipe)[1]]  # type: ignore[union-attr]

    loaded = load_recipe(file)
    assert paths(file) == paths(loaded) == paths(load_recipe(loaded)) == ["recipes/a.safetensors", "b.safetensors"]
    changed = loaded.model_copy(update={"sweep": Sweep(grid={"jepa.target": (targets[0],)})})
    assert paths(changed) == ["a.safetensors"]  # written in Python


def test_a_dumped_run_loads_as_itself(tmp_path: Path) -> None:
    file = written(tmp_path, {"grid": {"jepa": [None, {"weight": 0.5}]}, "seeds": 2}, name="kept")
    for configuration in expand_recipe(file)[1]:
        for run in configuration.runs:
            copy = tmp_path / "resolved.yaml"
            copy.write_text(dump(run))
            assert (load_recipe(copy), recipe_id(load_recipe(copy))) == (run, recipe_id(run))


def test_labels_name_what_differs(tmp_path: Path) -> None:
    sweep = {"cases": {"base": {"jepa": None}, "J": {}}, "zip": {"encoder.dim": [8, 16]}, "grid": {"optimizer": [{"lr": 0.5}]}}
    base, found = expand_recipe(written(tmp_path, sweep))
    assert base.name == "swept"
    assert labels(found) == [f"{case}, encoder.dim={dim}, optimizer={{lr: 0.5}}" for case in ("base", "J") for dim in (8, 16)]
    assert labels(expand_recipe(written(tmp_path, None))[1]) == [""]


def test_a_component_is_set_before_its_fields_in_any_order(tmp_path: Path) -> None:
    sweep = {"grid": {"encoder.dim": [16], "encoder": [{"kind": "vit", "dim": 32, "heads": 2}]}}
    _, (configuration,) = expand_recipe(written(tmp_path, sweep))
    assert (value_at(configuration.runs[0], "encoder.dim"), value_at(configuration.runs[0], "encoder.heads")) == (16, 2)


def test_a_kind_is_set_before_its_fields_in_any_order(tmp_path: Path) -> None:
    for case in ({"encoder.dim": 16, "encoder.kind": "nature_cnn"}, {"encoder.kind": "nature_cnn", "encoder.dim": 16}):
        _, (configuration,) = expand_recipe(written(tmp_path, {"cases": {"": case}}))
        assert (value_at(configuration.runs[0], "encoder.kind"), value_at(configuration.runs[0], "encoder.dim")) == ("nature_cnn", 16)


def test_over_adds_a_path_to_the_grid_or_replaces_one(tmp_path: Path) -> None:
    file = written(tmp_path, {"grid": {"encoder.dim": [8]}})
    over = ["encoder.dim=16,32", "jepa.target={kind: ema, decay: 0.5},{kind: ema}", "env.size=[80, 120],null"]
    _, found = expand_recipe(file, over=over)
    assert len(found) == 8
    assert labels(found)[0] == "encoder.dim=16, jepa.target={kind: ema, decay: 0.5}, env.size=[80, 120]"
    assert labels(expand_recipe(written(tmp_path, None), over=["encoder.dim=16"])[1]) == ["encoder.dim=16"]


def test_given_seeds_replace_the_sweeps_own(tmp_path: Path) -> None:
    file = written(tmp_path, {"seeds": [1, 2]})
    assert [run.seed for run in expand_recipe(file, seeds=3)[1][0].runs] == [7, 8, 9]
    assert [run.seed for run in expand_recipe(file, ["seed=0"], seeds=[5, 0])[1][0].runs] == [5, 0]


def test_an_override_and_the_sweep_but_not_the_file_outrank_given_threads(tmp_path: Path) -> None:
    def threads(sweep: Any, *overrides: str) -> list[Any]:
        return [found.runs[0].threads for found in expand_recipe(written(tmp_path, sweep, threads=2), overrides, threads=1)[1]]

    assert threads(None) == [1]
    assert threads(None, "threads=4") == [4]
    assert threads({"cases": {"a": {"threads": 3}, "b": {}}}) == [3, 1]
    assert expand_recipe(written(tmp_path, None, threads=2))[1][0].runs[0].threads == 2


SWEPT = """\
env: {kind: gym, id: CartPole-v1}
encoder: {kind: vit, dim: 8}
sweep:
"""


@pytest.mark.parametrize(
    ("sweep", "wrong"),  # the mistake is at the §
    [
        ("  grid: {encoder.dim: [8, §wide]}", '`encoder.dim` cannot be the string "wide"'),
        ("  grid: {encoder.§dmi: [8]}", "unknown field `dmi`"),
        ("  grid: {jepa.target: [{kind: ema}, {kind: §emma}]}", "unknown target `emma`"),
        ("  cases: {a: {}, b: {encoder.dim: §-1}}", "`encoder.dim` cannot be `-1`"),
        ("  cases:\n    a: {jepa: null}\n  grid: {§jepa.weight: [1]}", "the sweep sets `jepa.weight` in a run in which `jepa` is null"),
        ("  grid: {§jepa.weight: [1]}\njepa: null", "the sweep sets `jepa.weight` in a run in which `jepa` is null"),
        ("  zip: {encoder.dim: [8], encoder.dim.§x: [1]}", "`encoder.dim` cannot be a mapping"),
        ("  zip: §{encoder.dim: [8, 16], encoder.heads: [1]}", "2 for `encoder.dim`, 1 for `encoder.heads`"),
        ("  grid: {encoder.dim: §[]}", "`sweep.grid.encoder.dim` cannot be a list of 0"),
        ("  grid: {encoder.dim: §8}", "`sweep.grid.encoder.dim` cannot be `8`"),
        ("  §gird: {encoder.dim: [8]}", "unknown field `gird` in `sweep`"),
        ("  grid: {§seed: [1, 2]}", "a sweep cannot vary `seed`"),
        ("  zip: {§plugins: [[a.py]]}", "a sweep cannot vary `plugins`"),
        ("  cases: {a: {§sweep.seeds: 3}}", "a sweep cannot vary `sweep.seeds`"),
        ("  zip: {encoder.dim: [8]}\n  grid: {§encoder.dim: [8]}", "`encoder.dim` stands in both `zip` and `grid`"),
        (
            "  cases: {a: {§jepa.weight: 2}}\n  grid: {jepa: [null, {weight: 5}]}",
            "`jepa.weight` stands in both `cases` and, within `jepa`, `grid`",
        ),
        ("  seeds: §[]", "`sweep.seeds` cannot be a list of 0"),
        (f"  §seeds: {MAX_RUNS + 1}", "this sweep has 10,001 runs"),
        ("  §seeds: 1000000000000000000", "this sweep has more than 10**15 runs"),
        (f"  §grid: {{a: [1]}}\n  cases: {{a: {{{', '.join(f'x{n}: 1' for n in range(100))}}}}}", "this sweep sets 101 values in each run"),
        ("  grid: {§" + "a." * 300 + "x: [1]}", "a path of 301 steps"),
        (f"  seeds: [0, §{2**32}]", f"cannot be `{2**32}`"),
    ],
)
def test_a_mistake_in_a_sweep_is_reported_at_its_place(tmp_path: Path, sweep: str, wrong: str) -> None:
    file = tmp_path / "swept.yaml"
    before = (SWEPT + sweep).partition("§")[0].split("\n")
    file.write_text(SWEPT + sweep.replace("§", "") + "\n")
    with pytest.raises(RecipeError) as error:
        expand_recipe(file)
    (line,) = [line for line in str(error.value).splitlines() if wrong in line]
    assert line.startswith(f"{file}:{len(before)}:{len(before[-1]) + 1}: ")


def test_checking_stops_after_enough_wrong_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "swept.yaml"
    file.write_text(SWEPT + f"  grid: {{encoder.dim: [x], optimizer.lr: {[n / 1000 for n in range(1, 3_000)]}}}\n")
    looked: list[object] = []
    monkeypatch.setattr(load, "retold", lambda *args: looked.append(0) or retold(*args))
    with pytest.raises(RecipeError, match=r"`encoder\.dim`"):
        expand_recipe(file)
    assert len(looked) == MAX_TOLD


def test_each_mistake_is_reported_once_for_all_runs(tmp_path: Path) -> None:
    file = tmp_path / "swept.yaml"
    file.write_text(SWEPT + "  grid: {encoder.dim: [wide, 8], encoder.heads: [1, many]}\n  seeds: 3\n")
    with pytest.raises(RecipeError) as error:
        expand_recipe(file)
    assert len(error.value.problems) == 2


@pytest.mark.parametrize("over", ["encoder.dim", "=1", "encoder.dim=", "encoder.dim=1]", "encoder.dim=a,8", "encoder.dmi=8", "seed=1,2"])
def test_a_mistake_in_over_is_reported_with_its_number(tmp_path: Path, over: str) -> None:
    with pytest.raises(RecipeError, match=r"^--over #2: "):
        expand_recipe(written(tmp_path, None), over=["encoder.heads=1", over])


def test_a_missing_field_is_reported_in_the_file_and_not_in_over(tmp_path: Path) -> None:
    file = tmp_path / "swept.yaml"
    file.write_text("encoder: {kind: vit}\n")
    with pytest.raises(RecipeError) as error:
        expand_recipe(file, over=["encoder.dim=8"])
    assert str(error.value).startswith(f"{file}:1:1: `env` is missing")


def test_seeds_outside_the_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the last seed would be 4294967296"):
        expand_recipe(written(tmp_path, None, seed=2**32 - 2), seeds=3)
    with pytest.raises(RecipeError, match=r"^--seeds: `sweep\.seeds` cannot be `0`"):
        expand_recipe(written(tmp_path, None), seeds=0)

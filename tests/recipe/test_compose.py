"""`extends` and overrides: what wins, what is dropped, what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.recipe import Problem, RecipeError, compose, load_recipe, shipped_recipes
from jepakit.recipe.compose import Composer
from jepakit.recipe.errors import Source
from jepakit.recipe.tree import Node
from jepakit.recipe.yaml12 import read_yaml

Write = Callable[[str, str], Path]
Problems = Callable[..., tuple[Problem, ...]]
ENV = "env: {kind: fake, id: x}\n"


def values(recipe: Any, *names: str) -> list[Any]:
    found = []
    for name in names:
        value = recipe
        for step in name.split("."):
            value = value[int(step)] if step.isdecimal() else getattr(value, step)
        found.append(value)
    return found


def test_mappings_merge_and_lists_replace(write: Write) -> None:
    write("base/all.yaml", ENV + "seed: 1\nencoder: {kind: small, dim: 8, scaling: inverted}\nregularizers: [{kind: spread}]\n")
    write("r.yaml", "extends: base/all.yaml\nencoder: {dim: 9}\nregularizers: [{kind: spread2}]\n")
    recipe = load_recipe("r.yaml")
    assert values(recipe, "seed", "encoder.dim", "encoder.scaling", "env.id") == [1, 9, "inverted", "x"]
    assert [regularizer.kind for regularizer in recipe.regularizers] == ["spread2"]


def test_later_parents_win_and_paths_are_relative_to_their_file(write: Write) -> None:
    write("a/one.yaml", "extends: [parts/two.yaml, ../three.yaml]\n" + ENV)
    write("a/parts/two.yaml", "seed: 2\ntotal_steps: 2\n")
    write("three.yaml", "seed: 3\n")
    assert values(load_recipe("a/one.yaml"), "seed", "total_steps") == [3, 2]


def test_what_two_parents_extend_undoes_neither(write: Write) -> None:
    write("base.yaml", ENV + "seed: 1\ntotal_steps: 1\nencoder: {kind: small, dim: 8}\n")
    write("one.yaml", "extends: base.yaml\nseed: 2\nencoder: {dim: 9}\n")
    write("two.yaml", "extends: base.yaml\ntotal_steps: 3\n")
    for parents in ("one.yaml, two.yaml", "two.yaml, one.yaml", "base.yaml, one.yaml, two.yaml, one.yaml"):
        recipe = load_recipe(write("r.yaml", f"extends: [{parents}]\n"))
        assert values(recipe, "seed", "total_steps", "encoder.dim") == [2, 3, 9]
        assert values(load_recipe({"extends": parents.split(", ")}), "seed", "total_steps", "encoder.dim") == [2, 3, 9]


def test_every_list_of_parents_keeps_its_order(write: Write, problems: Problems) -> None:
    write("d.yaml", ENV + "seed: 8\n")
    write("e.yaml", ENV + "seed: 4\n")
    write("b.yaml", "extends: d.yaml\ntotal_steps: 3\n")
    write("c.yaml", "extends: [e.yaml, d.yaml]\n")
    assert values(load_recipe(write("r.yaml", "extends: [b.yaml, c.yaml]\n")), "seed", "total_steps") == [8, 3]
    (problem,) = problems("extends: [b.yaml, d.yaml]\n")
    assert "of d.yaml and b.yaml each would have to lie below the other" in str(problem)


@pytest.mark.parametrize("change", [("extends: base.yaml\nencoder: {kind: large}", ()), ("extends: base.yaml", ("encoder.kind=large",))])
def test_another_kind_drops_the_fields_of_the_old_kind(write: Write, change: tuple[str, tuple[str, ...]]) -> None:
    write("base.yaml", ENV + "encoder: {kind: small, dim: 8, scaling: inverted}")
    recipe = load_recipe(write("r.yaml", change[0]), change[1])
    assert values(recipe, "encoder.kind", "encoder.dim") == ["large", 512]


def test_repeating_the_kind_keeps_its_fields(write: Write) -> None:
    write("base.yaml", ENV + "encoder: {kind: small, dim: 8}")
    assert values(load_recipe(write("r.yaml", "extends: base.yaml\nencoder: {kind: small, scaling: inverted}")), "encoder.dim") == [8]


def test_writing_the_default_kind_changes_nothing(write: Write) -> None:
    write("base.yaml", ENV + "jepa: {target: {decay: 0.5}}")
    assert values(load_recipe(write("r.yaml", "extends: base.yaml\njepa: {target: {kind: ema}}")), "jepa.target.decay") == [0.5]


def test_a_mapping_without_kind_has_the_default_kind(write: Write) -> None:
    write("r.yaml", ENV + "jepa: {target: {decay: 0.5}}")
    assert values(load_recipe("r.yaml"), "jepa.target.kind", "jepa.target.decay") == ["ema", 0.5]
    changed = load_recipe(write("s.yaml", "extends: r.yaml\nencoder: {dim: 7}"), ["encoder.kind=large"])
    assert values(changed, "encoder.dim") == [512]


def test_null_removes_jepa_and_an_override_restores_it(write: Write) -> None:
    write("off.yaml", ENV + "jepa: null")
    assert load_recipe("off.yaml").jepa is None
    assert values(load_recipe("off.yaml", ["jepa.target.decay=0.5"]), "jepa.target.decay", "jepa.weight") == [0.5, 1.0]


def test_a_cycle_of_parents_is_reported(write: Write) -> None:
    write("a.yaml", "extends: b.yaml")
    write("b.yaml", "seed: 0\nextends: [c/c.yaml]")
    write("c/c.yaml", "extends: ../a.yaml")
    with pytest.raises(RecipeError, match=r"c/c.yaml:1:10: .*: a.yaml -> b.yaml -> c/c.yaml -> a.yaml") as error:
        load_recipe("a.yaml")
    assert len(error.value.problems) == 1


def test_a_parent_named_twice_is_read_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for level in range(10):
        write(f"{level}.yaml", f"extends: [{level + 1}.yaml, {level + 1}.yaml]\n")
    write("10.yaml", ENV)
    reads: list[Source] = []
    monkeypatch.setattr(compose, "read_yaml", lambda source, problems: reads.append(source) or read_yaml(source, problems))
    load_recipe("0.yaml")
    assert len(reads) == 11


@pytest.mark.parametrize(
    ("extends", "says"),
    [
        ("nowhere.yaml", "there is no recipe `nowhere.yaml` to extend"),
        ("3", "`extends` names no recipe here"),
        (".", "cannot read the recipe"),
        ("loop.yaml", "no recipe `loop.yaml`"),
        ('"a\\0b"', "no recipe"),
        ("pipe.yaml", "a device or a pipe"),
        ("/dev/zero", "a device or a pipe"),
        ('"a\\nb\\e[31m"', r"no recipe `a\nb\x1b[31m` to extend"),
    ],
)
def test_an_unreadable_parent_is_reported(folder: Path, problems: Problems, extends: str, says: str) -> None:
    (folder / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(folder / "pipe.yaml")
    parent, seed = problems(f"extends: {extends}\nseed: -1")  # the parent may set `env`, so `env` is not reported missing
    assert says in parent.wrong
    assert str(parent).startswith("r.yaml:1:10: ")
    assert "`seed` cannot be" in seed.wrong


def test_more_than_a_hundred_parents_are_refused(write: Write, problems: Problems) -> None:
    write("many.yaml", ENV + "extends: [" + "parent.yaml, " * 60 + "]")
    write("parent.yaml", "seed: 1")
    assert load_recipe("many.yaml").seed == 1
    (problem,) = problems("extends: [" + "many.yaml, " * 41 + "]")
    assert str(problem).startswith("many.yaml:2:10: more than 100 recipes to extend")


def test_a_shipped_recipe_can_be_extended_by_name(write: Write) -> None:
    assert "cartpole_pixels" in shipped_recipes()
    recipe = load_recipe(write("mine.yaml", "extends: cartpole_pixels\nseed: 7"))
    assert values(recipe, "seed", "env.id") == [7, "CartPole-v1"]
    assert load_recipe("cartpole_pixels").env == recipe.env


def test_a_recipe_takes_its_name_from_its_file(write: Write) -> None:
    assert load_recipe(write("my first.yaml", ENV)).name == "my_first"
    assert load_recipe(write("other.yaml", ENV + "name: chosen")).name == "chosen"


def test_overrides_are_yaml_typed_by_the_schema(write: Write) -> None:
    path = write("r.yaml", ENV + "regularizers: [{kind: spread}, {kind: spread2}]")
    overrides = [
        "optimizer.lr=1e-2",
        "total_steps=100_000",
        "env.size=[4, 5]",
        "env.limit=null",
        "regularizers.1.weight=2",
        "jepa={horizon: 3}",
        "env.id=a=b",
    ]
    recipe = load_recipe(path, overrides, seed=5)
    names = [
        "optimizer.lr",
        "total_steps",
        "env.size",
        "env.limit",
        "regularizers.0.weight",
        "regularizers.1.weight",
        "jepa.horizon",
        "env.id",
        "seed",
    ]
    assert values(recipe, *names) == [0.01, 100_000, (4, 5), None, 1.0, 2.0, 3, "a=b", 5]


def test_overrides_apply_in_order(write: Write) -> None:
    path = write("r.yaml", ENV)
    assert values(load_recipe(path, ["seed=1", "seed=2"], seed=3), "seed") == [3]
    assert values(load_recipe(path, ["encoder.kind=large", "encoder.layers=2"]), "encoder.layers") == [2]
    assert values(load_recipe(path, ["encoder={kind: large, layers: 2}", "encoder={dim: 3}"]), "encoder.layers", "encoder.dim") == [2, 3]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed", "--set #2: not an override: write `path.to.field=value`"),
        ("=3", "--set #2: not an override: write `path.to.field=value`"),
        ("a..b=3", "--set #2: not an override: write `path.to.field=value`"),
        ("extends=a", "--set #2: `extends` cannot be overridden"),
        ("seed=[1", "--set #2: not YAML"),
        ("seed=-1", "--set #2: `seed` cannot be `-1`"),
        ("seed=", "--set #2: `seed` cannot be `null`"),
        ("sead=1", "--set #2: unknown field `sead`"),
        ("regularizers.2.weight=1", "--set #2: `regularizers` has no entry `2`"),
        ("regularizers.x=1", "--set #2: `regularizers` has no entry `x`"),
        ("regularizers.-1.weight=1", "--set #2: `regularizers` has no entry `-1`"),
        ("regularizers.0.weigth=1", "--set #2: unknown field `weigth` in `regularizers.0`"),
        ("encoder.weight=1", "--set #2: unknown field `weight` in `encoder`"),
        ("encoder.kind=smal", "--set #2: unknown encoder `smal`"),
        ("encoder\udcff=smal", "--set #2: not an override: write `path.to.field=value`"),
        ("a" + ".a" * 5_000 + "=1", "--set #2: a path of 5,001 steps"),
    ],
)
def test_a_wrong_override_is_identified_by_its_number(problems: Problems, override: str, line: str) -> None:
    (problem,) = problems(ENV + "regularizers: [{kind: spread}]", ["total_steps=5", override])
    assert str(problem).startswith(line)
    assert str(problem).splitlines()[1] == f"    {override[:120]}".replace("\udcff", "�")


def test_an_entry_of_a_list_that_is_not_written_is_told_so(problems: Problems) -> None:
    (problem,) = problems(ENV, ["diagnostics.0.threshold=0.1"])
    assert "the recipe does not write this list out, so it has no numbered entries: write the whole list" in str(problem)


def test_a_field_in_the_wrong_place_is_shown_everywhere_else(problems: Problems) -> None:
    (problem,) = problems(ENV + "regularizers: [{kind: spread}]", ["encoder.weight=1"])
    assert str(problem).endswith("did you mean `jepa.weight` or `regularizers.0.weight`?")


@pytest.mark.parametrize(
    ("override", "caret"), [("seed=-1", "-"), ("encoder.kind=smal", "s"), ("regularizers.4.weight=1", "4"), ("sead=1", "s")]
)
def test_the_caret_points_at_the_mistake(problems: Problems, override: str, caret: str) -> None:
    (problem,) = problems(ENV + "regularizers: [{kind: spread}]", [override])
    _, quoted, pointer, *_ = str(problem).splitlines()
    assert quoted[pointer.index("^")] == caret
    assert quoted[pointer.index("^") - 1] in " =."


def test_a_wrong_seed_argument_is_reported_as_seed(problems: Problems) -> None:
    (problem,) = problems(ENV, seed=-1)
    assert str(problem).startswith("--seed: `seed` cannot be `-1`")


def test_a_missing_field_is_reported_in_the_file(problems: Problems) -> None:
    (problem,) = problems("env: {kind: fake}", ["env.num_envs=3", "seed=2"])
    assert str(problem).startswith("r.yaml:1:1: `env.id` is missing")


plain = st.recursive(
    st.integers(0, 3) | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
)
mappings = st.dictionaries(st.sampled_from("abcd"), plain, max_size=4)


def tree(value: Any) -> Node:
    node = read_yaml(Source("x", json.dumps(value), Path(), is_file=False), [])
    assert node
    return node


def merged(base: Any, over: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {key: merged(base[key], over[key]) if key in base and key in over else {**base, **over}[key] for key in {**base, **over}}


@given(mappings, mappings)
def test_merging_matches_a_plain_reference(base: dict[str, Any], over: dict[str, Any]) -> None:
    assert tree(base).merged(tree(over), {}).plain() == merged(base, over)


@given(mappings, st.lists(st.sampled_from("abcd"), min_size=1, max_size=3), plain)
def test_an_override_acts_like_a_recipe_merged_on_top(base: dict[str, Any], path: list[str], value: Any) -> None:
    over = value
    for step in reversed(path):
        over = {step: over}
    composer = Composer({})
    laid = composer.override(tree(base), f"{'.'.join(path)}={json.dumps(value)}", "--set #1")
    node: Any = base
    through_list = any(isinstance(node := node.get(step) if isinstance(node, dict) else None, list) for step in path[:-1])
    assert bool(composer.problems) == through_list
    assert laid.plain() == (base if through_list else merged(base, over))


def test_an_override_that_discards_an_earlier_one_is_an_error(write: Write) -> None:
    write("r.yaml", ENV + "encoder: {kind: small, dim: 8}\n")
    with pytest.raises(RecipeError, match=r"--set #2: `encoder.kind` discards `encoder.dim`, .*\n(.*\n)*.*set `encoder.kind` first"):
        load_recipe("r.yaml", ["encoder.dim=9", "encoder.kind=big"])
    assert load_recipe("r.yaml", ["encoder.dim=9", "encoder.kind=small"]).encoder.dim == 9
    assert load_recipe("r.yaml", ["jepa.weight=2.0", "jepa=null"]).jepa is None


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_only_a_components_kind_drops_the_fields_of_another(tmp_path: Path) -> None:
    """A mapping of the user's own may have an entry called ``kind``, and a sweep a case."""
    written(tmp_path, "base.yaml", "extends: cartpole_pixels\nenv: {make_kwargs: {difficulty: 3}}\nsweep: {cases: {other: {seed: 1}}}\n")
    child = written(tmp_path, "child.yaml", "extends: base.yaml\nenv: {make_kwargs: {kind: hard}}\nsweep: {cases: {kind: {seed: 2}}}\n")
    recipe = load_recipe(child)
    assert recipe.env.make_kwargs == {"difficulty": 3, "kind": "hard"}
    assert recipe.sweep
    assert {*recipe.sweep.cases} == {"other", "kind"}
    assert [*recipe.dropped_fields()] == []


def test_a_kind_that_is_said_first_keeps_what_was_written_without_one(tmp_path: Path) -> None:
    written(tmp_path, "fragment.yaml", "env: {num_envs: 4, size: [40, 60]}\n")
    env = load_recipe(written(tmp_path, "r.yaml", "extends: fragment.yaml\nenv: {kind: gym, id: CartPole-v1}\n")).env
    assert (env.num_envs, env.size) == (4, (40, 60))


def test_a_sweeps_case_with_another_kind_replaces_that_of_the_base(tmp_path: Path) -> None:
    written(tmp_path, "base.yaml", "extends: cartpole_pixels\nsweep: {cases: {a: {encoder: {kind: vit, dim: 8}}}}\n")
    recipe = load_recipe(written(tmp_path, "r.yaml", "extends: base.yaml\nsweep: {cases: {a: {encoder: {kind: impala}}}}\n"))
    assert recipe.sweep
    assert recipe.sweep.cases["a"] == {"encoder": {"kind": "impala"}}
    assert [*recipe.dropped_fields()] == []


def test_a_new_kind_of_a_lists_entry_discards_nothing_that_was_set_before(tmp_path: Path) -> None:
    whole = "auxiliary=[{kind: reward_prediction}]"
    with pytest.raises(RecipeError, match=r"`auxiliary\.0\.kind` discards `auxiliary\.0\.weight`"):
        load_recipe("cartpole_pixels", [whole, "auxiliary.0.weight=5", "auxiliary.0.kind=inverse_dynamics"])
    assert load_recipe("cartpole_pixels", [whole, "auxiliary.0.kind=inverse_dynamics", "auxiliary.0.weight=5"]).auxiliary[0].weight == 5


def test_a_value_that_yaml_takes_for_a_comment_is_refused() -> None:
    with pytest.raises(RecipeError, match="a value that begins with `#` is a comment"):
        load_recipe("cartpole_pixels", ["env.make_kwargs.color=#ff0000"])
    assert load_recipe("cartpole_pixels", ['env.make_kwargs.color="#ff0000"']).env.make_kwargs == {"color": "#ff0000"}

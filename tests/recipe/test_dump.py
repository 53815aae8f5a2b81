"""`dump` writes any recipe so that it loads as the same recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.recipe import Recipe, dump, load_recipe, recipe_id
from jepakit.registry import component

Write = Callable[[str, str], Path]

texts = st.text(max_size=12) | st.sampled_from(
    ["on", "yes", "1e-3", "1_0", "null", "~", "", " a", "a: b", "# a", "\u2028", "\x85", "é😀", "0o17", "2001-01-01", "<<", "9" * 5000]
)
whole = st.integers(-(2**63), 2**63 - 1)
numbers = whole | st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    env = {
        "id": draw(texts),
        "size": draw(st.tuples(st.integers(1, 9), st.integers(1, 9))),
        "extras": draw(st.dictionaries(texts, anything, max_size=3)),
    }
    kinds = draw(st.lists(st.sampled_from(["spread", "spread2"]), unique=True))
    values: dict[str, Any] = {
        "name": draw(st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}\Z")),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "env": component("env", "fake").fields(**env),  # type: ignore[arg-type]
        "encoder": component("encoder", "large").fields(dim=draw(st.integers(1, 2**63 - 1))),  # type: ignore[call-arg]
        "regularizers": tuple(component("regularizer", kind).fields(weight=draw(st.floats(0, 1e300))) for kind in kinds),  # type: ignore[call-arg]
        "threads": draw(st.integers(1, 9) | st.just("auto")),
        "collapse_threshold": draw(st.floats(1e-300, 1)),
    }
    if draw(st.booleans()):
        values["jepa"] = None
    return Recipe(**values)


@settings(max_examples=25)
@given(recipe=recipes())
def test_a_dumped_recipe_loads_as_itself(write: Write, recipe: Recipe) -> None:
    again = load_recipe(write("dumped.yaml", dump(recipe)), run_plugins=False)
    assert again == recipe
    assert recipe_id(again) == recipe_id(recipe)
    assert load_recipe(write("dumped.yaml", dump(recipe, origins=True)), run_plugins=False) == recipe


def test_every_default_is_written_and_other_yaml_readers_agree(write: Write) -> None:
    recipe = load_recipe(write("r.yaml", "env: {kind: fake, id: 'on'}\noptimizer: {lr: 1e-4}"))
    read = yaml.safe_load(dump(recipe))
    assert read == recipe.model_dump(mode="json")
    assert (read["env"]["id"], read["optimizer"]["lr"]) == ("on", 1e-4)


def test_origins_name_the_line_or_override_of_each_value(write: Write) -> None:
    write("base.yaml", "env:\n  kind: fake\n  id: x\nregularizers:\n  - kind: spread\n")
    recipe = load_recipe(write("r.yaml", "extends: base.yaml\nseed: 3\n"), ["regularizers.0.weight=2"])
    origins = {line.split("#")[0].strip(): line.split("# ")[1] for line in dump(recipe, origins=True).splitlines() if "#" in line}
    assert origins["id: x"] == "base.yaml:3"
    assert origins["- kind: spread"] == "base.yaml:5"
    assert origins["seed: 3"] == "r.yaml:2"
    assert origins["weight: 2.0"] == "--set #1"
    assert origins["total_steps: 100000"] == "default"
    merged = load_recipe(write("more.yaml", "extends: r.yaml\nenv: {extras: {a: 1}}\n"), ["env.extras.b=2", "env.extras.c=3"])
    (line,) = (line for line in dump(merged, origins=True).splitlines() if "extras" in line)
    assert line.split("# ")[1] == "more.yaml:2, --set #1, --set #2"
    long = load_recipe(write("long.yaml", f"extends: base.yaml\ncase: {'some words ' * 9}in the end\n"))
    assert load_recipe(write("again.yaml", dump(long, origins=True))) == long


def test_dumped_plugins_are_found_from_anywhere(write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("plugins/p.py", "")
    recipe = load_recipe(write("sub/r.yaml", "env: {kind: fake, id: x}\nplugins: [../plugins/p.py]"))
    write("elsewhere/dumped.yaml", dump(recipe))
    monkeypatch.chdir("/")
    assert load_recipe(folder / "elsewhere/dumped.yaml").plugins == recipe.plugins

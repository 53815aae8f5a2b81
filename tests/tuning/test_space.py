"""A space is read strictly, and everything drawn from it is what its file says."""

from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.recipe import RecipeError
from jepakit.recipe.tree import Node
from jepakit.tuning.candidates import load_candidates
from jepakit.tuning.space import Choice, Range
from jepakit.tuning.space_file import read_space

SPACE: dict[str, Any] = {
    "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "algorithm.epochs": {"low": 1, "high": 7, "step": 2},
    "encoder.kind": ["vit", "vit "],
    "jepa.target": [{"kind": "ema", "decay": {"low": 0.9, "high": 0.99}}, {"kind": "frozen"}],
    "regularizers": [[], [{"kind": "vicreg", "weight": {"low": 0.01, "high": 1, "log": True}}]],
    "optimizer.lr_schedule": ["linear", "cosine"],
}


def test_what_is_drawn_and_how_it_is_named() -> None:
    asked: dict[str, Any] = {}

    def last(name: str, part: Range | Choice) -> Any:
        asked[name] = part.high if isinstance(part, Range) else list(part.options)[-1]
        return asked[name]

    drawn = {setting.path: setting.value.plain() for setting in read_space(SPACE).draw(last)}
    assert drawn == {
        "optimizer.lr": 1e-2,
        "algorithm.epochs": 7,
        "encoder.kind": "vit ",
        "jepa.target": {"kind": "frozen"},
        "regularizers": [{"kind": "vicreg", "weight": 1}],
        "optimizer.lr_schedule": "cosine",
    }
    assert list(asked) == [
        *("optimizer.lr", "algorithm.epochs", "encoder.kind", "jepa.target", "regularizers"),
        *("regularizers.0.weight (vicreg)", "optimizer.lr_schedule"),
    ]


def test_a_value_that_belongs_to_an_option_is_drawn_with_it_alone() -> None:
    nested = {"jepa.target": [{"kind": "ema", "decay": {"choices": [0.5, {"low": 0.9, "high": 0.99}]}}, {"kind": "frozen"}]}
    asked: list[str] = []

    def pick(label: str) -> Any:
        def suggest(name: str, part: Range | Choice) -> Any:
            asked.append(name)
            return part.low if isinstance(part, Range) else label if label in part.options else list(part.options)[-1]

        return suggest

    space = read_space(nested)
    (setting,) = space.draw(pick("ema"))
    assert setting.value.plain() == {"kind": "ema", "decay": 0.9}
    assert asked == ["jepa.target", "jepa.target.decay (ema)", "jepa.target.decay (ema, {low: 0.9, high: 0.99})"]
    asked.clear()
    (setting,) = space.draw(pick("frozen"))
    assert (setting.value.plain(), asked) == ({"kind": "frozen"}, ["jepa.target"])


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("", "1:1", "nothing varies"),
        ("[1, 2]", "1:1", "a mapping from paths"),
        ("{}", "1:1", "nothing varies"),
        ("optimizer.lr: 1e-3", "1:15", "one value is nothing to search"),
        ("encoder.kind: [vit]", "1:15", "a list of 2 to"),
        ("encoder.kind: [vit, vit]", "1:21", "written twice"),
        ("optimizer.lr: {low: 1e-3}", "1:15", "`high` is missing"),
        ("optimizer.lr: {low: 1e-3, high: 1e-3}", "1:33", "must be above `low`"),
        ("optimizer.lr: {low: 0, high: 1, log: true}", "1:21", "must begin above 0"),
        ("optimizer.lr: {low: 1, high: 2, log: true, step: 1}", "1:50", "has no steps"),
        ("optimizer.lr: {low: 1, high: 2, lag: true}", "1:33", "did you mean `log`?"),
        ("optimizer.lr: {low: 1, high: two}", "1:30", "expected a number"),
        ("optimizer.lr: {low: 1, high: .inf}", "1:30", "expected a number"),
        ("optimizer.lr: {low: 1, high: true}", "1:30", "expected a number"),
        ("algorithm.epochs: {low: 1, high: 4, step: 2}", "1:34", "the last one is 3"),
        ("algorithm.epochs: {low: 1, high: 4, step: 0}", "1:43", "`step` must be above 0"),
        ("jepa.target: [{kind: ema, decay: {low: 1}}, {kind: frozen}]", "1:34", "`high` is missing"),
        ("seed: [1, 2]", "1:1", "--seeds"),
        ("total_steps: [1, 2]", "1:1", "the same budget"),
        ("checkpoint_every: [1, 2]", "1:1", "does not change what is learned"),
        ("a b: [1, 2]", "1:1", "no path"),
        ("a: [1, 2]\na: [1, 2]", "2:1", "written twice"),
        ("encoder.depth: [1, 2]\nencoder: [{kind: vit, dim: 8}, {kind: vit, depth: 3}]", "1:1", "would replace what values of `encoder`"),
        ("regularizers: [[], [{kind: vicreg, weight: 2}]]\nregularizers.0.weight: [1, 2]", "2:1", "replace what values of `regularizers`"),
    ],
)
def test_a_mistake_in_a_space_is_told_with_its_place(tmp_path: Path, text: str, place: str, says: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=f"{place}: ") as told:
        read_space(file)
    assert says in str(told.value)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("optimizer.lr: {low: -1, high: 1}", "1:21", "a number above 0"),
        ("jepa.target.decay: {low: 0.5, high: 1.5}", "1:37", "cannot be `1.5`"),
        ("algorithm.epochs: {low: 1.0, high: 3.0}", "1:25", "an integer"),
        ("encodr.depth: {low: 1, high: 3}", "1:1", "did you mean `encoder`?"),
        ("encoder.kind: [vit, vitt]", "1:21", "unknown encoder `vitt`"),
        ("jepa.target: [{kind: ema}, {kind: frozen, decay: {low: 0.1, high: 0.9}}]", "1:43", "unknown field `decay`"),
        ("encoder.kind: [vit, nature_cnn]\nencoder.depth: {low: 1, high: 2}", "2:9", "unknown field `depth`"),
        ("jepa: [null, {horizon: 2}]\njepa.weight: [1.0, 2.0]", "2:1", "is null"),
        ("algorithm.epochs: {low: 1, high: 3, step: 0.5}", "1:43", "cannot be `1.5`"),
        ("jepa.target: [{kind: frozen}, {kind: periodic, every: {low: 1, high: 2, step: 0.25}}]", "1:79", "cannot be `1.25`"),
    ],
)
def test_what_the_recipe_refuses_is_told_at_its_place_in_the_space(tmp_path: Path, recipe: Path, text: str, place: str, says: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=f"space.yaml:{place}: ") as told:
        load_candidates(recipe, (), read_space(file))
    assert says in str(told.value)


def test_a_path_within_another_varies_what_its_values_do_not_say(recipe: Path) -> None:
    space = read_space({"encoder": [{"kind": "vit", "depth": 1}, {"kind": "vit", "depth": 2}], "encoder.dim": [8, 16]})
    candidates = load_candidates(recipe, ["encoder.heads=2"], space)
    drawn = itertools.product(space.parts["encoder"].options, space.parts["encoder.dim"].options)  # type: ignore[union-attr]
    found = [candidates.recipe(space.draw(lambda name, _, pair=pair: pair[name == "encoder.dim"])).encoder for pair in drawn]  # type: ignore[misc]
    assert [(encoder.depth, encoder.dim) for encoder in found] == [(1, 8), (1, 16), (2, 8), (2, 16)]


def test_whole_steps_written_as_floats_are_whole(recipe: Path) -> None:
    space = read_space({"algorithm.epochs": {"low": 1, "high": 3, "step": 1.0}, "optimizer.lr": {"low": 1, "high": 2, "step": 0.5}})
    candidates = load_candidates(recipe, (), space)
    whole = {path: candidates.is_whole(path, part) for path, part in space.parts.items() if isinstance(part, Range)}
    assert whole == {"algorithm.epochs": True, "optimizer.lr": False}


def test_a_range_of_whole_numbers_is_continuous_where_the_field_is(recipe: Path) -> None:
    space = read_space({"jepa.weight": {"low": 0, "high": 2}, "algorithm.epochs": {"low": 1, "high": 4}, "jepa.horizon": [1, 2]})
    assert load_candidates(recipe, (), space).continuous == {"jepa.weight"}
    space = read_space({"jepa.weight": {"low": 0, "high": 2, "step": 1}})
    assert load_candidates(recipe, (), space).continuous == set()


def test_the_recipes_own_values_are_found_where_the_space_contains_them(recipe: Path) -> None:
    space = {
        "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},  # 1e-3
        "jepa.weight": {"low": 2, "high": 3},  # 1: outside
        "jepa.target": [{"kind": "frozen"}, {"kind": "ema", "decay": {"low": 0.9, "high": 0.999}}],  # ema, 0.99
        "regularizers": [[{"kind": "vicreg"}], []],
        "algorithm.epochs": {"low": 2, "high": 6, "step": 2},  # 1: no step leads there
    }
    found = load_candidates(recipe, (), read_space(space)).defaults()
    assert found == {"optimizer.lr": 1e-3, "jepa.target": "ema", "jepa.target.decay (ema)": 0.99, "regularizers": "[]"}


NUMBERS = st.floats(1e-3, 10.0, allow_nan=False)


@given(ends=st.lists(NUMBERS, min_size=2, max_size=2, unique=True), whole=st.integers(1, 20), span=st.integers(1, 9), data=st.data())
@settings(max_examples=25)
def test_every_drawn_trial_is_a_recipe_with_exactly_the_drawn_values(
    recipe: Path, ends: list[float], whole: int, span: int, data: st.DataObject
) -> None:
    low, high = sorted(ends)
    space = read_space(
        {
            "optimizer.lr": {"low": low, "high": high, "log": True},
            "algorithm.epochs": {"low": whole, "high": whole + span},
            "regularizers": [[], [{"kind": "vicreg", "weight": {"low": low, "high": high}}]],
        }
    )
    candidates = load_candidates(recipe, (), space)

    def draw(name: str, part: Range | Choice) -> Any:
        if isinstance(part, Choice):
            return data.draw(st.sampled_from(list(part.options)))
        if candidates.is_whole(name, part):
            return data.draw(st.integers(int(part.low), int(part.high)))
        return data.draw(st.floats(part.low, part.high))

    drawn = space.draw(draw)
    found = candidates.recipe(drawn).model_dump(mode="json")
    values = {setting.path: setting.value.plain() for setting in drawn}
    assert found["optimizer"]["lr"] == values["optimizer.lr"]
    assert found["algorithm"]["epochs"] == values["algorithm.epochs"]
    assert [entry["weight"] for entry in found["regularizers"]] == [entry["weight"] for entry in values["regularizers"]]
    assert all(isinstance(setting.value, Node) and setting.value.place for setting in drawn)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from(["vit", "ema", "low", "1e-3", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["low", "high", "step", "log", "choices", "kind", "decay", "weight"]), inner, max_size=4)
    ),
    max_leaves=8,
)
PATHS = st.sampled_from(
    ["optimizer.lr", "jepa.target", "jepa", "encoder", "regularizers", "regularizers.0.weight", "env", "env.size", "x..y", "seed", "", "0"]
)


@given(content=st.dictionaries(PATHS, VALUES, min_size=1, max_size=3))
@settings(max_examples=60)
def test_whatever_a_space_says_it_is_read_or_its_mistakes_are_told(recipe: Path, content: dict[str, Any]) -> None:
    with suppress(RecipeError):
        load_candidates(recipe, (), read_space(content)).defaults()

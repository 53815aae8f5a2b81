"""Fields of a component whose types are its author's own: what differs has another id, and a run's recipe.yaml says what it was."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from jepakit import registry
from jepakit.recipe import RecipeError, dump, load_recipe, recipe_id
from jepakit.registry import register
from jepakit.registry.signature import RegistrationError


class Relu(BaseModel):
    type: Literal["relu"] = "relu"


class Tanh(BaseModel):
    type: Literal["tanh"] = "tanh"


class Head(BaseModel):
    width: int = 1


class Wide(Head):
    width: int = 2


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = "a"


Net = Annotated[Relu | Tanh, Field(discriminator="type")]
FIELDS: dict[str, tuple[Any, Any, list[str]]] = {  #: type, default, and values that differ from one another
    "tagged": (Net, Relu(), ["{type: relu}", "{type: tanh}"]),
    "optional": (Head | None, None, ["null", "{}", "{width: 2}"]),
    "literal": (Head | Literal["off"], "off", ['"off"', "{}"]),
    "inherited": (Head, Wide(), ["{width: 2}", "{}", "{width: 3}"]),
    "open": (Open, Open(), ["{}", "{slope: 0.5}", "{slope: 0.9}"]),
    "several": (tuple[Open, ...], (), ["[]", "[{}]", "[{slope: 1}]", "[{}, {}]"]),
    "mixed": (tuple[Head | str, ...], (), ["[a]", "[{}]", "[{}, a]"]),
    "flags": (dict[str, Any], {"f": 1}, ["{f: 1}", "{f: true}", "{f: 2}"]),
    "numbers": (tuple[int | bool, ...], (1, 2), ["[1, 2]", "[true, 2]"]),
}


@pytest.mark.parametrize("name", FIELDS)
def test_values_that_differ_have_ids_that_differ_and_are_written_down(name: str, tmp_path: Path) -> None:
    annotation, default, values = FIELDS[name]

    class Mine:
        def __init__(self, frames: Any, *, field: Any = default) -> None: ...

    Mine.__init__.__annotations__["field"] = annotation
    Mine.__init__.__kwdefaults__ = {"field": default}
    register("encoder", "mine")(Mine)
    try:
        recipes = [load_recipe("cartpole_pixels", [f"encoder={{kind: mine, field: {value}}}"]) for value in values]
        assert len({recipe_id(recipe) for recipe in recipes}) == len(values)
        for recipe in recipes:
            (tmp_path / "again.yaml").write_text(dump(recipe))
            again = load_recipe(tmp_path / "again.yaml")
            assert again == recipe
            assert recipe_id(again) == recipe_id(recipe)
    finally:
        registry.forget(lambda module: module == __name__)


def test_a_model_in_a_field_refuses_what_it_does_not_know_unless_its_author_allows_it() -> None:
    class Mine:
        def __init__(self, frames: Any, *, heads: tuple[Head, ...] = (), named: Open | None = None) -> None: ...

    Mine.__init__.__annotations__.update(heads=tuple[Head, ...], named=Open | None)
    register("encoder", "mine")(Mine)
    try:
        for value in ("heads: [{width: 2, widht: 3}]", "heads: [{width: 2, widht: 3}], named: {more: 1}"):
            with pytest.raises(RecipeError, match=r"unknown field `widht` in `encoder\.heads\.0`"):
                load_recipe("cartpole_pixels", [f"encoder={{kind: mine, {value}}}"])
        assert load_recipe("cartpole_pixels", ["encoder={kind: mine, heads: [{width: 2}], named: {more: 1}}"]).encoder.named.more == 1
    finally:
        registry.forget(lambda module: module == __name__)


def test_a_set_has_no_order_so_a_recipe_cannot_write_it() -> None:
    class Mine:
        def __init__(self, frames: Any, *, tags: frozenset[str] = frozenset()) -> None: ...

    Mine.__init__.__annotations__["tags"] = frozenset[str]
    with pytest.raises(RegistrationError, match="a set has no order: write a tuple"):
        register("encoder", "mine")(Mine)


@pytest.mark.parametrize("value", [".inf", "{limit: -.inf}", "[1, .nan]"])
def test_what_is_not_finite_is_refused_at_its_place(value: str, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(f"extends: cartpole_pixels\nenv:\n  make_kwargs: {{x: {value}}}\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:3:3: `env`: .* not JSON compliant"):
        load_recipe(file)
    with pytest.raises(RecipeError, match="not JSON compliant"):
        load_recipe("cartpole_pixels", {"env.make_kwargs": {"limit": float("inf")}})


@pytest.mark.parametrize("text", ["a\x85b", "a \u2028 b", "a\u2029", "\U0001f600 é"])
def test_every_text_of_python_arrives_as_it_is(text: str) -> None:
    assert load_recipe("cartpole_pixels", {"env.make_kwargs": {"text": text}}).env.make_kwargs == {"text": text}


def test_a_class_of_a_notebooks_cell_has_an_id_which_is_that_of_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook keeps its cells in `linecache`, and its ``__main__`` has no file: ``inspect`` then finds functions, and no classes."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    base = "class Base:\n    def __init__(self, frames, *, dim: int = {}): ...\n"
    cell = "from jepakit import register\n\n@register('encoder', 'of_a_cell')\nclass OfACell(Base):\n    def scale(self): return {}\n"
    ids = []
    try:
        for number, (dim, scale) in enumerate([(8, 1), (8, 1), (9, 1), (9, 2)]):
            for name, text in ((f"<base-{number}>", base.format(dim)), (f"<cell-{number}>", cell.format(scale))):
                monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
                exec(compile(text, name, "exec"), main.__dict__)
            ids.append(recipe_id(load_recipe("cartpole_pixels", ["encoder={kind: of_a_cell, dim: 16}"])))
    finally:
        registry.forget(lambda module: module == "__main__")
    assert ids[0] == ids[1]
    assert len({*ids}) == 3

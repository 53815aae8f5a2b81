"""The registry reads fields from a constructor's signature, and refuses what it cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, PositiveInt, ValidationError

from jepakit import registry
from jepakit.errors import UserError
from jepakit.registry import Component, build, component_of, components, load_builtins, register, table
from jepakit.registry.signature import ComponentFields, NameTaken, RegistrationError

if TYPE_CHECKING:
    from nowhere import Nothing

Even = Annotated[int, Field(multiple_of=2)]


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    load_builtins()
    monkeypatch.setattr(table, "_table", dict(table._table))


def found(slot: str, kind: str) -> Component:
    return table._table[slot, kind]


def read(fields: type[ComponentFields], **values: Any) -> ComponentFields:
    return fields.model_validate_json(json.dumps(values))


class Everything:
    """One line.

    More about it,
    over two lines.

    Source: Somebody et al. 2025,
      Eq. 1

    Args:
        frames: Not a field.
        width: How wide
            it is.
        norm (str): At the end.
    """

    def __init__(
        self,
        frames: Nothing,
        *,
        patch: Even,
        width: PositiveInt = 32,
        norm: Literal["layer", "none"] = "layer",
        size: tuple[int, int] = (3, 4),
        rate: float = 0.5,
        flag: bool = False,
    ) -> None:
        self.values = {"frames": frames, "patch": patch, "width": width, "norm": norm, "size": size, "rate": rate, "flag": flag}


@pytest.fixture
def everything() -> Component:
    register("encoder", "everything")(Everything)
    return found("encoder", "everything")


def test_the_star_in_the_signature_separates_context_from_fields(everything: Component) -> None:
    config = read(everything.fields, patch=4, width=3, size=[5, 6])
    made = build("encoder", config, frames="shape", embedding_width=8)
    assert everything.context == ("frames",)
    assert made.values == {"frames": "shape", "patch": 4, "width": 3, "norm": "layer", "size": (5, 6), "rate": 0.5, "flag": False}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"patch": 3},
        {"patch": 4, "width": 0},
        {"patch": 4, "width": True},
        {"patch": 4, "width": "3"},
        {"patch": 4, "width": 3.0},
        {"patch": 4, "flag": 1},
        {"patch": 4, "norm": "batch"},
        {"patch": 4, "rate": float("nan")},
        {"patch": 4, "rate": float("inf")},
        {"patch": 4, "size": [1, 2, 3]},
        {"patch": 4, "frames": 3},
        {"patch": 4, "kind": "another"},
    ],
)
def test_fields_are_validated_strictly(everything: Component, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(everything.fields, **wrong)


def test_docstrings_describe_components_and_fields(everything: Component) -> None:
    meanings = {name: field.description for name, field in everything.fields.model_fields.items()}
    assert (meanings["width"], meanings["norm"], meanings["rate"]) == ("How wide it is.", "At the end.", None)
    assert everything.summary == "One line."
    assert everything.description == "More about it,\nover two lines."
    assert everything.source == "Somebody et al. 2025, Eq. 1"


def test_the_slots_own_fields_do_not_reach_the_constructor() -> None:
    @register("regularizer", "plain")
    class Plain:
        def __init__(self, *, threshold: float = 1.0) -> None:
            self.threshold = threshold

    config = read(found("regularizer", "plain").fields, weight=2, threshold=3.0)
    assert (config.weight, build("regularizer", config).threshold) == (2.0, 3.0)  # type: ignore[attr-defined]
    with pytest.raises(ValidationError):
        read(found("regularizer", "plain").fields, weight=-1)


def no_star() -> type:
    class C:
        def __init__(self, width: int = 3) -> None: ...

    return C


def more_arguments() -> type:
    class C:
        def __init__(self, *args: int) -> None: ...

    return C


def more_fields() -> type:
    class C:
        def __init__(self, **fields: int) -> None: ...

    return C


def no_type() -> type:
    class C:
        def __init__(self, *, width=3) -> None: ...  # noqa: ANN001

    return C


def unknown_type() -> type:
    class C:
        def __init__(self, *, width: Nothing) -> None: ...

    return C


def no_json_type() -> type:
    class C:
        def __init__(self, *, width: Callable[[], int]) -> None: ...

    return C


def slots_own_field() -> type:
    class C:
        def __init__(self, *, weight: float) -> None: ...

    return C


def bad_default() -> type:
    class C:
        def __init__(self, *, width: PositiveInt = 0) -> None: ...

    return C


def pydantics_own_name() -> type:
    class C:
        def __init__(self, *, copy: int) -> None: ...

    return C


def several_files() -> type:
    class C:
        reads: ClassVar = ("files",)

        def __init__(self, *, files: list[str] | None = None) -> None: ...

    return C


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (several_files, "`files` names files, but may hold several values"),
        (no_star, "`width` stands before `\\*`.*has: `frames`, `embedding_width`"),
        (more_arguments, "`\\*args"),
        (more_fields, "`\\*\\*fields"),
        (no_type, "`width` needs a type"),
        (unknown_type, "`width`, `Nothing`, cannot be read"),
        (no_json_type, "a recipe cannot write the type of a field"),
        (slots_own_field, "every kind of this slot already has the field `weight`"),
        (bad_default, "default of the field `width`"),
        (pydantics_own_name, "the field name `copy` is private or used by pydantic"),
    ],
)
def test_a_signature_that_does_not_fit_is_refused_with_its_place(make: Callable[[], type], says: str) -> None:
    with pytest.raises(RegistrationError, match=rf"^{__file__}:\d+: cannot register .*{says}"):
        register("regularizer", "c")(make())
    assert ("regularizer", "c") not in table._table


@pytest.mark.parametrize(("slot", "kind"), [("encoders", "c"), ("encoder", "My CNN")])
def test_unknown_slots_and_invalid_kinds_are_refused(slot: str, kind: str) -> None:
    with pytest.raises(RegistrationError):
        register(slot, kind)(type("C", (), {}))


def test_two_classes_with_one_name_are_an_error_that_names_both_places(everything: Component) -> None:
    with pytest.raises(NameTaken) as error:

        @register("encoder", "everything")
        class Other:
            pass

    assert str(error.value).count(f"{__file__}:") == 2
    assert found("encoder", "everything").cls is Everything


def cell() -> type:
    """What a notebook's cell defines whenever it runs."""

    @register("encoder", "again")
    class Again:
        pass

    return Again


def test_defining_a_class_again_replaces_it() -> None:
    first, second = cell(), cell()
    assert found("encoder", "again").cls is second is not first


def test_one_file_under_two_module_names_is_one_class(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    source = "from jepakit import register\n@register('encoder', 'mine')\nclass Mine: pass\n"
    for name in ("__main__", "package.mine"):
        exec(compile(source, str(file), "exec"), {"__name__": name})
    assert found("encoder", "mine").cls.__module__ == "package.mine"


def test_a_file_that_was_loaded_is_one_class_with_its_copy_in_a_run(tmp_path: Path) -> None:
    """In both orders, and after an edit; but two plug-ins of one name are two."""
    source = "from jepakit import register\n@register('encoder', 'mine')\nclass Mine: pass\n"
    for content in (source, source + "# edited\n"):
        for place, name in (("a", "mine"), ("run", "jepakit_plugin_0"), ("a", "mine"), ("run", "jepakit_plugin_0")):
            exec(compile(content, str(tmp_path / place / "mine.py"), "exec"), {"__name__": name})
            assert found("encoder", "mine").cls.__module__ == name
    with pytest.raises(NameTaken):
        exec(compile(source, str(tmp_path / "b" / "mine.py"), "exec"), {"__name__": "jepakit_plugin_1"})


def test_a_class_is_checked_though_its_kind_means_another_by_now() -> None:
    first, _ = cell(), cell()
    known = component_of("encoder", first)
    assert known
    assert known.cls is found("encoder", "again").cls is first
    assert component_of("target", first) is None


def test_a_config_builds_its_own_class_whatever_is_registered_later(everything: Component) -> None:
    config = read(everything.fields, patch=2)
    table._table.clear()
    assert isinstance(build("encoder", config, frames=None), Everything)
    with pytest.raises(TypeError, match="slot `target`"):
        build("target", config, encoder=None)


def test_a_misspelled_name_gets_a_suggestion(everything: Component) -> None:
    with pytest.raises(UserError, match="did you mean `everything`"):
        registry.component("encoder", "everythin")
    with pytest.raises(UserError, match="did you mean `encoder`"):
        components("encoders")


def test_built_ins_are_found_without_importing_them_first() -> None:
    assert {("encoder", "vit"), ("target", "ema"), ("env", "gym")} <= {(known.slot, known.kind) for known in components()}
    assert [known.kind for known in components("objective")] == sorted(known.kind for known in components("objective"))


def test_a_missing_package_is_named_with_its_install_command() -> None:
    @register("encoder", "needy")
    class Needy:
        """Needs a library."""

        requires: ClassVar = {"torch": "pip install torch", "no_such_library": "pip install 'mine[extra]'"}

    needy = found("encoder", "needy")
    assert needy.missing == "pip install 'mine[extra]'"
    with pytest.raises(UserError, match=r"^kind `needy` needs a module that is not installed: pip install 'mine\[extra\]'$"):
        build("encoder", needy.fields(kind="needy"))
    assert found("encoder", "vit").missing is None

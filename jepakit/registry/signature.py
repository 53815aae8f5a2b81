"""Reads a constructor's signature: names of context, and a strict pydantic model of the keyword-only parameters, the recipe's fields."""

from __future__ import annotations

import ast
import inspect
import textwrap
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError

from jepakit.errors import UserError, shown


class RegistrationError(UserError):
    """A class cannot be registered as a component."""


class NameTaken(RegistrationError):
    """Two different classes register one name."""


class ComponentFields(BaseModel):
    """A component's fields in a recipe: strict and frozen; unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())

    component: ClassVar[Any]  #: the registry's ``Component`` that these fields belong to

    kind: str


def context_and_fields(
    cls: type, kind: str, base: type[ComponentFields], context: Mapping[str, str], meanings: Mapping[str, str]
) -> tuple[tuple[str, ...], type[ComponentFields]]:
    """Split the signature of ``cls`` at its ``*``.

    A constructor that ends in ``**rest`` also takes the parameters of its base's constructor, and so on along the bases.

    Args:
        cls: The component.
        kind: Its name in recipes.
        base: The model with ``kind`` and the fields that the slot adds to all its kinds.
        context: The context that the slot can supply, by name.
        meanings: The docstring's text about each parameter.

    Returns:
        The names of the context that the constructor asks for, and the model of the fields.

    Raises:
        RegistrationError: The signature does not follow these rules; the message says what to change.
    """
    asked: list[str] = []
    fields: dict[str, Any] = {}
    settled: set[str] = set()  # parameters that a subclass passes to its base itself
    inits = constructors(cls)
    for number, init in enumerate(inits):
        rest = None
        for parameter in list(inspect.signature(init).parameters.values())[1:]:
            name = parameter.name
            match parameter.kind:
                case inspect.Parameter.VAR_KEYWORD if number + 1 < len(inits):
                    rest = parameter
                case inspect.Parameter.POSITIONAL_OR_KEYWORD | inspect.Parameter.KEYWORD_ONLY if name in settled:
                    pass
                case inspect.Parameter.POSITIONAL_OR_KEYWORD:
                    asked.append(_checked_context(name, context))
                case inspect.Parameter.KEYWORD_ONLY:
                    fields[name] = _field(parameter, init, base, meanings.get(name))
                case _:
                    raise RegistrationError(
                        f"the constructor's `{parameter}` names no field: name the context before `*` and each of the recipe's fields "
                        "after it; `**rest` passes on the parameters of a base class whose constructor takes any"
                    )
        if rest is None:
            break
        settled |= {*asked, *fields, *_given_to_super(init, inits[number + 1])}
    return tuple(asked), _model(cls, kind, base, fields)


def constructors(cls: type) -> list[Callable[..., Any]]:
    """The constructors along the MRO, the class's own first. They end before nn.Module's, whose ``**kwargs`` takes nothing."""
    found: list[Callable[..., Any]] = []
    for each in cls.__mro__:
        init = each.__dict__.get("__init__")
        if each is object or each.__module__ == "torch.nn.modules.module":
            break
        if init is not None:
            found.append(inspect.unwrap(init))
    return found


def _given_to_super(init: Callable[..., Any], above: Callable[..., Any]) -> set[str]:
    """The parameters of ``above`` that ``init`` itself sets, in ``super().__init__(...)`` or ``Base.__init__(self, ...)``."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):  # no source, as in an interactive session
        return set()
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".__init__")]
    names = list(inspect.signature(above).parameters)
    by_position = set()
    for call in calls:
        first = 1 if ast.unparse(call.func).startswith("super(") else 0  # the other form passes ``self``
        by_position |= {name for name, _ in zip(names[first:], call.args, strict=False)} - {names[0]}
    return by_position | {keyword.arg for call in calls for keyword in call.keywords if keyword.arg}


def _checked_context(name: str, context: Mapping[str, str]) -> str:
    if name in context:
        return name
    known = ", ".join(f"`{known}`" for known in context) or "none"
    raise RegistrationError(
        f"`{name}` stands before `*` in the constructor, but this slot has no such context (it has: {known}); "
        "write a recipe's field after `*`"
    )


def _field(parameter: inspect.Parameter, init: Callable[..., Any], base: type[ComponentFields], meaning: str | None) -> tuple[Any, Any]:
    name, annotation = parameter.name, parameter.annotation
    if name in base.model_fields:
        raise RegistrationError(f"every kind of this slot already has the field `{name}`; choose another name")
    if name.startswith("_") or hasattr(base, name) or name in base.__class_vars__:
        raise RegistrationError(f"the field name `{name}` is private or used by pydantic; choose another name")
    if annotation is parameter.empty:
        raise RegistrationError(f"the field `{name}` needs a type annotation: a recipe's values are checked against it")
    if isinstance(annotation, str):
        # Evaluate one annotation at a time: those of the context may need imports made only for type checkers.
        try:
            annotation = eval(annotation, init.__globals__)
        except Exception as error:
            raise RegistrationError(f"the type of the field `{name}`, `{annotation}`, cannot be read: {error}") from error
    if _has_a_set(annotation):
        raise RegistrationError(f"a set has no order: write a tuple as the type of the field `{name}`")
    default = ... if parameter.default is parameter.empty else parameter.default
    return annotation, Field(default, description=meaning) if meaning else Field(default)


def _has_a_set(annotation: Any) -> bool:
    return any(each is kind for each in (annotation, get_origin(annotation)) for kind in (set, frozenset)) or any(
        map(_has_a_set, get_args(annotation))
    )


def _model(cls: type, kind: str, base: type[ComponentFields], fields: dict[str, Any]) -> type[ComponentFields]:
    kind_field: Any = (Literal[kind], Field(kind, description=base.model_fields["kind"].description))
    try:
        model = create_model(f"{cls.__name__}Fields", __base__=base, __module__=cls.__module__, kind=kind_field, **fields)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydantic warns and drops a default that JSON cannot hold; it is refused below
            schema = model.model_json_schema()
    except (PydanticUserError, TypeError) as error:
        raise RegistrationError(f"a recipe cannot write the type of a field: {str(error).splitlines()[0]}") from error
    for name in (*getattr(cls, "reads", ()), *getattr(cls, "data", ())):
        written = schema["properties"].get(name, {})
        if any(each.get("type") in ("array", "object") for each in written.get("anyOf", [written])):
            raise RegistrationError(f"`{name}` names files, but may hold several values: give each file a field of its own, a text or null")
    for name, field in model.model_fields.items():
        if not field.is_required() and field.default_factory is None and "default" not in schema["properties"][name]:
            raise RegistrationError(f"a recipe cannot write the default of the field `{name}`: {shown(repr(field.default))}")
    defaults = {name: field.get_default() for name, field in model.model_fields.items() if not field.is_required()}
    try:
        model.model_validate(defaults)
    except ValidationError as error:
        for problem in error.errors():
            if problem["type"] != "missing":
                raise RegistrationError(f"the default of the field `{problem['loc'][0]}` is not valid: {problem['msg']}") from error
    return model

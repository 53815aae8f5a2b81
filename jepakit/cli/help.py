"""How ``--help`` looks: an argument by its name, a flag without a type, as in other command lines."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup


class Verb(TyperCommand):
    """A verb whose help shows neither ``{RECIPE}`` nor ``<bool>``, as Typer 0.29 would."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The arguments and options, ``--help`` among them."""
        return [_plain(param) for param in super().get_params(ctx)]


class Verbs(TyperGroup):
    """The command itself, in the same way."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, ``--help`` among them."""
        return [_plain(param) for param in super().get_params(ctx)]


def _plain(param: Any) -> Any:
    if isinstance(param, TyperArgument):
        name = param.display_name_raw
        usage = name if param.required else f"[{name}]"
        param.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
        param._usage_display_name = lambda: usage  # type: ignore[method-assign]
    elif getattr(param, "is_flag", False):
        param.display_type_rich = lambda ctx: None
    return param

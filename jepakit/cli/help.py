"""The look of ``--help``: arguments by name, flags without a type, as in other command lines."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup


class Verb(TyperCommand):
    """A verb whose help hides the ``{RECIPE}`` and ``<bool>`` that Typer 0.29 shows."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The arguments and options, including ``--help``."""
        return [_plain(param) for param in super().get_params(ctx)]


class Verbs(TyperGroup):
    """The same for the ``jepakit`` command itself."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, including ``--help``."""
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

"""The look of ``--help``: arguments by name, flags without a type, as in other command lines."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup

from jepakit.errors import UserError, shown

#: What other tools call our verbs, where it is spelled too differently to be found as a near match.
MEANT = {"train": "run", "fit": "run", "start": "run", "launch": "run", "continue": "resume", "restart": "resume", "extend": "resume"}
MEANT |= {"sweep": "ablate", "grid": "ablate", "ls": "list", "ps": "runs", "status": "runs", "describe": "explain", "info": "explain"}
MEANT |= {"create": "new", "init": "new", "play": "eval", "diff": "compare", "lint": "validate", "config": "show"}


class Verb(TyperCommand):
    """A verb whose help hides the ``{RECIPE}`` and ``<bool>`` that Typer 0.29 shows."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The arguments and options, including ``--help``."""
        return [_plain(param) for param in super().get_params(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and explain the extra argument that `--set PATH VALUE` leaves.

        Raises:
            UserError: A value is written without its ``=``.
        """
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if "unexpected extra argument" in str(getattr(error, "message", "")):
                for option, path, value in zip(given, given[1:], given[2:], strict=False):
                    if option == "--set" and "=" not in path and not value.startswith("-"):
                        raise UserError(f"--set {shown(path)} {shown(value)}: write --set {shown(path)}={shown(value)}") from None
            raise


class Verbs(TyperGroup):
    """The same for the ``jepakit`` command itself."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, including ``--help``."""
        return [_plain(param) for param in super().get_params(ctx)]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that is asked for; of another tool's verb, an error that names ours."""
        if args and args[0] not in self.commands and (meant := MEANT.get(args[0])):
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{meant}'?")
        return super().resolve_command(ctx, args)


def _plain(param: Any) -> Any:
    if isinstance(param, TyperArgument):
        name = param.display_name_raw
        usage = name if param.required else f"[{name}]"
        param.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
        param._usage_display_name = lambda: usage  # type: ignore[method-assign]
    elif getattr(param, "is_flag", False):
        param.display_type_rich = lambda ctx: None
    return param

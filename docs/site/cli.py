"""The reference of the command line: every verb with its arguments and options, as ``--help`` has them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer.main

from docs.site.markdown import fields, prose, table
from docs.site.markdown import page as blocks
from jepakit.cli.app import VERBS, app


@cache
def verbs() -> dict[str, Any]:
    """The commands by name."""
    group: Any = typer.main.get_command(app)
    return {name: group.commands[name] for name in VERBS}


def page() -> str:
    """The page of all verbs."""
    overview = table(
        ("verb", ""), [(f"[`{name}`](#jepakit-{name})", prose(_help(verb).partition("\n")[0])) for name, verb in verbs().items()]
    )
    about = (
        "`jepakit --help` lists the verbs, `jepakit VERB --help` explains one, `jepakit --traceback VERB …` shows any error's traceback. "
        "Exit codes: 0 success; 1 failed run; 2 user's mistake; 130 interrupted."
    )
    return blocks("# Command line", about, overview, *(part for name, verb in verbs().items() for part in _verb(name, verb)))


def _verb(name: str, verb: Any) -> Iterator[str]:
    yield f"## jepakit {name}"
    context = verb.make_context(name, [], resilient_parsing=True)
    yield "    jepakit " + " ".join([name, *verb.collect_usage_pieces(context)])
    yield prose(_help(verb))
    yield fields(("", "meaning", "default"), [_param(param, context) for param in verb.get_params(context) if param.name != "help"])


def _help(verb: Any) -> str:
    return inspect.cleandoc(verb.help or "")


def _param(param: Any, context: Any) -> tuple[str, str, str]:
    if param.param_type_name == "argument":
        return f"`{param.display_name_raw}`", prose(param.help or ""), "required" if param.required else ""
    value = "" if param.is_flag else " " + (param.metavar or param.type_descriptor.annotation.__name__.upper())
    default = param.get_default(context)
    shown = "" if default is None or param.is_flag or default == [] or not param.show_default else f"`{default}`"
    return ", ".join(f"`{name}{value}`" for name in param.opts), prose(param.help or ""), shown

"""A function of the user's own, named on the command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from jepakit.errors import UserError, shown, suggestion, told
from jepakit.files.reading import Unreadable, read_bytes

MAX_BYTES = 10 * 1024**2


def named_function(name: str, option: str) -> Callable[..., Any]:
    """The function that ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION`` names.

    Args:
        name: The file or the module, and the function.
        option: Names the option in messages.

    Raises:
        UserError: There is no such function, or its file or module cannot be imported.
    """
    where, colon, function = name.rpartition(":")
    if not (colon and where and function.isidentifier()):
        raise UserError(f"{option} {shown(name)}: write FILE.py:FUNCTION or MODULE:FUNCTION")
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except Unreadable as error:
        raise UserError(f"{option}: cannot read {shown(where, 300)}: {error}") from error
    except Exception as error:
        advice = "" if where.endswith(".py") else f"; a file is written with its ending: {shown(where)}.py:{function}"
        raise UserError(f"{option}: {shown(where, 300)} cannot be imported: {told(error)}{advice}") from error
    found: Any = getattr(module, function, None)
    if not callable(found):
        functions = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        raise UserError(f"{option}: {shown(where, 300)} has no function `{shown(function)}`; {suggestion(function, functions, 'it has')}")
    named: Callable[..., Any] = found
    return named


def _from_file(path: Path) -> ModuleType:
    module = ModuleType(f"jepakit_named_{path.stem}")
    module.__file__ = str(path.absolute())
    sys.modules[module.__name__] = module  # by which the simulators' own processes are sent its code
    exec(compile(read_bytes(path, MAX_BYTES), str(path), "exec", dont_inherit=True), module.__dict__)
    return module

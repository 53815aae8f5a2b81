"""Bad plug-ins: they raise at import, register garbage, are not Python, are not regular files, or are unusual modules."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from tests.fuzz import values
from tests.fuzz.harness import Input
from tests.fuzz.recipes import odd_file, written

GOOD = '''\
from __future__ import annotations
from typing import Annotated, Any, Literal
import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from jepakit import register

def broken(value):
    raise {error}

class Odd(str):
    def __str__(self): raise ValueError("no text")
    __repr__ = __str__

@register({slot}, {kind})
class Mine(torch.nn.Module):
    """{doc}"""
    {body}
    def __init__({signature}) -> None:
        super().__init__()
        {inside}

    def forward(self, pixels):
        {forward}
'''
ERRORS = [
    'ValueError("bad")',
    "KeyError(1)",
    "SystemExit(3)",
    "SystemExit",
    "GeneratorExit",
    "MemoryError",
    "RecursionError",
    "BaseException('odd')",
    "type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()",
    "type('Odd', (Exception,), {'__str__': lambda self: 'a\\nb\\x1b[31m'})()",
    "ExceptionGroup('several', [ValueError(1), ValueError(2)])",
    "OSError(2, 'gone')",
    "UnicodeDecodeError('utf-8', b'x', 0, 1, 'r')",
    "StopIteration",
    "ImportError",
    "ModuleNotFoundError('x', name='x')",
    "SyntaxError",
    "SyntaxError('x', ('f', 1, 2, 'text'))",
    "__import__('asyncio').CancelledError()",
    "__import__('jepakit.errors').errors.UserError('a user error of its own')",
    "__import__('click').ClickException('click') if __import__('importlib.util').util.find_spec('click') else KeyError(2)",
    "Exception('x' * 100_000)",
]
IN_COMPONENTS = [error for error in ERRORS if error != "GeneratorExit"]  # Python itself uses it to end generators, such as context managers
LINES = [
    "raise {error}",
    "def f(): f()\nf()",
    "class C:\n    def __getattr__(self, name): return getattr(self, name + 'x')\nC().a",
    "import nothing_of_that_name",
    "from jepakit import nothing",
    "import jepakit.nowhere.at_all",
    "1 / 0",
    "1 +",
    "\tx = 1\n  y = 2",
    "x = '",
    "é = 'ü'",
    "\x0c",
    "del __builtins__",
    "import sys; sys.modules.pop(__name__)",
    "import sys; sys.modules[__name__] = None",
    "import sys; sys.exit('a text')",
    "import sys; sys.exit(b'bytes')",
    "__file__ = 3",
    "__name__ = None",
    "import warnings; warnings.warn('odd \\x1b[31m')",
    "import warnings; warnings.simplefilter('error'); warnings.warn('x')",
    "eval('(' * 500 + ')' * 500)",
    "eval('-' * 5_000 + '1')",
    "eval('[' * 150 + ']' * 150)",
    "int('9' * 10_000)",
    "register(1, 2)(int)",
    "register('encoder', 'x')(3)",
    "register('encoder', 'x')(lambda: 0)",
    "register('encoder', 'X y')(Mine)",
    "register('nowhere', 'x')(Mine)",
    "register('encoder', 'vit')(Mine)",
    "register(['encoder'], 'x')(Mine)",
    "register('encoder', None)(Mine)",
    "register('encoder', 'a' * 100_000)(Mine)",
    "register('encoder', 'x')(type('T', (), {'__init__': 3}))",
    "register('encoder', 'x')(type('T', (), {'__doc__': 3}))",
    "register('encoder', 'x')(type('T', (), {'__doc__': property(lambda self: 1)}))",
    "register('encoder', 'mod')(type('T', (), {'__module__': None}))",
    "register('encoder', 'mod')(type('T', (), {'__module__': 3}))",
    "register('encoder', 'mod')(type('T', (), {'__qualname__': 'x' * 9_000}))",
    "register('encoder', 'x')(type('Meta', (type,), {'__getattribute__': lambda self, name: 1 / 0})('T', (), {}))",
    "register('encoder', 'req')(type('T', (), {'requires': 3}))",
    "register('encoder', 'x')(int)",
    "register('encoder', 'x')(type)",
    "[register('encoder', f'k{n}')(type(f'T{n}', (), {})) for n in range(300)]",
]
SIGNATURES = [
    "self, frames, *, width: int = 3",
    "self, frames, *, width: int",
    "self, frames, *, width: int = '3'",
    "self, frames, *, width",
    "self, frames, *, width: nothing = 3",
    "self, frames, *, width: 1 / 0 = 3",
    "self, frames, *, width: torch.Tensor = 3",
    "self, frames, *, width: object = 3",
    "self, frames, *, width: Any = 3",
    "self, frames, *, width: Any = object()",
    "self, frames, *, width: Any = float('nan')",
    "self, frames, *, width: Odd = 'x'",
    "self, frames, *, width: list[int] = [1]",
    "self, frames, *, width: Literal['a'] = 'b'",
    "self, frames, *, width: Annotated[int, AfterValidator(broken)] = 3",
    "self, frames, *, width: Annotated[int, AfterValidator(broken)]",
    "self, frames, *, width: Annotated[int, BeforeValidator(broken)]",
    "self, frames, *, width: Annotated[Any, AfterValidator(lambda v: object())]",
    "self, frames, *, width: Annotated[int, Field(pattern='[')]",
    "self, frames, *, width: Annotated[str, Field(pattern='(a+)+$')]",
    "self, frames, *, width: 'list[Mine]'",
    "self, frames, *, width: complex = 3j",
    "self, frames, *, width: lambda x: x = 3",
    "self, frames, *, width: type = int",
    "self, frames, *, width: bytes = b'x'",
    "self, frames, *, kind: str = 'x'",
    "self, frames, *, simnorm: int = 3",
    "self, frames, *, model_fields: int = 3",
    "self, frames, *, _width: int = 3",
    "self, frames, *, component: int = 3",
    "self, *args, **kwargs",
    "self, nothing, *, width: int = 3",
    "self, frames, width: int = 3",
    "self, /, frames, *, width: int = 3",
    "self, frames, *, é: int = 3",
    "*, frames",
    "",
]
ENV = "env: {kind: gym, id: CartPole-v1, num_envs: 1, size: [8, 12]}\n"
FORWARDS = [
    "return pixels",
    "return None",
    "raise {error}",
    "return torch.zeros(2, 1, 3)",
    "return pixels.float().mean((-1, -2, -3, -4)).unsqueeze(-1)",
    "return self.forward(pixels)",
    "return torch.zeros(1)",
    "import sys; sys.exit(5)",
    "return torch.full((2, 1, 8), float('nan'))",
]
MODULES = [
    "sys",
    "builtins",
    "os.path",
    "json",
    "json.nowhere",
    "this_is_not_there",
    "math",
    "__main__",
    "jepakit",
    "jepakit.registry",
    "jepakit.cli.app",
    "xml",
    "namespace_of_a_folder",
    "package_of_odd_things",
    "é",
    "ﬁle",
    "a" * 3_000,
    ".relative",
    "a..b",
    "json.",
    "import",
    "class",
    "None",
]


def code(rng: random.Random) -> str:
    """A plug-in's source."""
    source = GOOD.format(
        error=rng.choice(ERRORS),
        slot=rng.choice(["'encoder'"] * 8 + ["'predictor'", "'nowhere'", "1", "None"]),
        kind=rng.choice(["'mine'"] * 12 + ["'vit'", "'Mine'", "''", "3", "'a' * 9_000"]),
        doc=rng.choice(["Mine.", "", "Args:\n  width", "Args:\n        width: a\\x1b[31m", "Source:" * 1_000, "%s {0}"]),
        body=rng.choice(
            ["", "", "", "requires = 3", "__slots__ = ()", "__module__ = None", "requires = {'nothing_there': 'x'}", "__doc__ = 5"]
        ),
        signature=rng.choice([SIGNATURES[0]] * 20 + SIGNATURES),
        inside=rng.choice(["pass", "pass", "raise " + rng.choice(IN_COMPONENTS), "self.x = torch.nn.Linear(10**9, 10**9)", "return 3"]),
        forward=rng.choice(FORWARDS).format(error=rng.choice(IN_COMPONENTS)),
    )
    if rng.random() < 0.5:
        source += (
            "\n" + rng.choice(LINES).format(error=rng.choice(ERRORS))
            if "{error}" in source
            else "\n" + rng.choice(LINES).replace("{error}", rng.choice(ERRORS))
        )
    return source


def plugin(rng: random.Random, folder: Path) -> Input:
    """A recipe that names a plug-in file."""
    content = code(rng).encode("utf-8", "surrogatepass")
    if rng.random() < 0.25:
        content = values.bytes_spoiled(rng, content)
    if rng.random() < 0.05:
        content = (
            rng.choice([b"# -*- coding: nothing -*-\n", b"# coding: utf-16\n", b"\xef\xbb\xbf# coding: latin-1\n", b"# coding: rot13\n"])
            + content
        )
    name = rng.choice(["mine.py", "mine.py", "mine.py", "deep/mine.py", "a b.py", "\x1b[31m.py", "é.py", "a\nb.py"])
    if rng.random() < 0.15:
        name = odd_file(rng, folder, "mine.py")
    else:
        written(folder, content, name)
    kind = rng.choice(["mine", "mine", "mine", "vit", "x", "mod", "req", "k7"])
    width = rng.choice(["", "", ", width: 3", ", width: x", ", width: null", ", width: [1]"])
    written(folder, f"{ENV}encoder: {{kind: {kind}{width}}}\nplugins: [{json.dumps('./' + name)}]\n")
    verbs = (
        [["show", "r.yaml"]] * 6
        + [["validate", "r.yaml"]] * 3
        + [["ablate", "--dry-run", "r.yaml"], ["validate", "--no-plugins", "r.yaml"]]
    )
    verbs += [
        ["list", "--plugins", f"./{name}"],
        ["explain", "encoder", "mine", "--plugins", f"./{name}"],
        ["schema", "--recipe", "r.yaml"],
    ]
    return Input(rng.choice(verbs), ("r.yaml", "mine", "plug-in", "encoder `"))


def module(rng: random.Random, folder: Path) -> Input:
    """A recipe that names modules, some of them in the folder."""
    (folder / "namespace_of_a_folder").mkdir()
    odd = folder / "package_of_odd_things"
    odd.mkdir()
    (odd / "__init__.py").touch()
    (odd / "folder.py").mkdir()
    os.mkfifo(odd / "fifo.py")
    (odd / "loop.py").symlink_to("loop.py")
    (odd / "around").symlink_to("..")
    chosen = [rng.choice([*MODULES, values.text(rng)]) for _ in range(rng.choice([1, 1, 2]))]
    written(
        folder,
        f"{ENV}encoder: {{kind: vit, patch: 4}}\nplugins: {json.dumps(chosen)}\n",
    )
    return Input(
        rng.choice([["show", "r.yaml"], ["ablate", "--dry-run", "r.yaml"], ["list", "--plugins", chosen[0]]]),
        ("r.yaml", "plug-in", "module"),
    )


FAMILIES = {"plug-ins": (plugin, 14), "modules": (module, 3)}

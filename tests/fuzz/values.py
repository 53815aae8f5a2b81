"""Hostile values, texts and numbers, which people and programs write by mistake or on purpose."""

from __future__ import annotations

import random
from typing import Any

TEXTS = [
    "",
    " ",
    "null",
    "~",
    "on",
    "<<",
    "=",
    "-",
    ".",
    "..",
    "/",
    "a\nb",
    "a\tb",
    "\x00",
    "\x1b[2J\x1b[31mred",
    "\x7f",
    "\x9b31m",
    "\u202eesrever",
    "\u2028",
    "\ufeff",
    "é",
    "ﬁle",
    "😀",
    "٣",
    "ᴺᵁᴸᴸ",
    "\udcff",
    "%s%n{0}{x}",
    "$(id)",
    "{kind: vit}",
    "[1, 2]",
    "x" * 5_000,
    "kind",
    "auto",
    "cuda:0",
    "cuda:99999999999999999999",
    "cuda:٣",
    "~nobody_of_that_name/x.py",
    "os:system",
    "CartPole-v1",
    "module:CartPole-v1",
    "a.b.c",
]
NUMBERS = [
    "-1",
    "0",
    "-0",
    "0.0",
    "-0.0",
    "1e999",
    "-1e999",
    "1e-999",
    "4294967296",
    str(2**31),
    str(2**63 - 1),
    str(2**63),
    str(2**64),
    "1" + "0" * 400,
    "9" * 4_299,
    "9" * 4_300,
    "9" * 5_000,
    "0x" + "f" * 4_000,
    "0x" + "f" * 40_000,
    "0o" + "7" * 9_000,
    "-0x1",
    "1_0",
    "1__0",
    "1e400_0",
    "." + "9" * 5_000,
    "1e" + "9" * 5_000,
    ".nan",
    ".inf",
    "-.inf",
    "nan",
    "inf",
    "NaN",
    "true",
    "True",
    "yes",
    "1:30",
    "2001-01-01",
    "1e5",
    "0.1",
    "3",
]


def text(rng: random.Random) -> str:
    """A string."""
    if rng.random() < 0.6:
        return rng.choice(TEXTS)
    pool = rng.choice(["abcdefghij", " :-#[]{}&*!|>'\"%@`,?\n\t\\", "".join(map(chr, range(1, 0x180))), "aé\u0301\u200d😀\u202e\U0010ffff"])
    return "".join(rng.choices(pool, k=rng.choice([1, 3, 12, 300])))


def number(rng: random.Random) -> Any:
    """A number as JSON and YAML writers know it."""
    sorts: list[Any] = [
        rng.choice([-1, 0, 1, 2, 3, 7, 255, 256, 65_536]),
        rng.choice([-1, 1]) * 2 ** rng.choice([31, 32, 62, 63, 64, 100, 1_100]),
        rng.uniform(-10, 10),
        rng.choice([float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324, -0.0, 1e-30]),
        rng.random() < 0.5,
    ]
    return rng.choice(sorts)


def value(rng: random.Random, depth: int = 3) -> Any:
    """Anything that YAML can hold."""
    sort = rng.random()
    if sort < 0.3:
        return text(rng).encode("utf-8", "ignore").decode()
    if sort < 0.6:
        return number(rng)
    if sort < 0.7 or not depth:
        return None
    if sort < 0.84:
        return [value(rng, depth - 1) for _ in range(rng.choice([0, 1, 2, 3, 30]))]
    if sort < 0.98:
        return {text(rng).encode("utf-8", "ignore").decode(): value(rng, depth - 1) for _ in range(rng.choice([0, 1, 2, 3]))}
    nested: Any = 1
    for _ in range(rng.choice([10, 49, 51, 300])):
        nested = [nested] if rng.random() < 0.5 else {"kind": nested}
    return nested


def paths(tree: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value in a tree."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [at, *(path for key, entry in entries for path in paths(entry, (*at, key)))]


def replaced(tree: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy of a tree with another value at a path."""
    if not path:
        return new
    key, rest = path[0], path[1:]
    if isinstance(tree, dict):
        return {name: replaced(entry, rest, new) if name == key else entry for name, entry in tree.items()}
    return [replaced(entry, rest, new) if index == key else entry for index, entry in enumerate(tree)]


def spoiled(rng: random.Random, tree: Any) -> Any:
    """A tree with one to three values replaced, dropped, moved, repeated or renamed."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        path = rng.choice(paths(tree)[1:] or [()])
        parent: Any = tree
        for key in path[:-1]:
            parent = parent[key]
        act = rng.choice(["replace", "replace", "replace", "move", "drop", "rename", "add", "wrap"])
        if act == "replace" or not path:
            tree = replaced(tree, path, value(rng))
        elif act == "wrap":
            tree = replaced(tree, path, rng.choice([[parent[path[-1]]], {"kind": parent[path[-1]]}]))
        elif act == "move":
            other: Any = tree
            for key in rng.choice(paths(tree)):
                other = other[key]
            tree = replaced(tree, path, other)
        elif isinstance(parent, dict):
            key = path[-1]
            entries = [(name, entry) for name, entry in parent.items() if act != "drop" or name != key]
            if act == "rename":
                entries = [(text(rng) if name == key else name, entry) for name, entry in entries]
            if act == "add":
                entries.append((rng.choice([text(rng), str(key) + "s", "kind", "extends", "sweep", "plugins"]), value(rng)))
            tree = replaced(tree, path[:-1], dict(entries))
        else:
            tree = replaced(tree, path[:-1], [*parent, value(rng)] if act == "add" else parent[:-1])
    return tree


def bytes_spoiled(rng: random.Random, content: bytes) -> bytes:
    """Content with bytes flipped, cut, doubled or inserted, or in another encoding."""
    act = rng.choice(["flip", "cut", "insert", "insert", "double", "drop", "encode", "end"])
    if act == "encode":
        decoded = content.decode("utf-8", "replace")
        encodings = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037", "utf-8-sig"]
        if rng.random() < 0.3:
            return ("é: ü\n" + decoded).encode("latin-1", "replace")
        return decoded.encode(rng.choice(encodings), "replace")
    if act == "end":
        return content.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\x0b", b""]))
    start = rng.randrange(len(content) + 1)
    stop = min(len(content), start + rng.choice([1, 2, 5, 40, 1_000]))
    if act == "flip":
        return content[:start] + bytes(byte ^ (1 << rng.randrange(8)) for byte in content[start:stop]) + content[stop:]
    if act == "cut":
        return content[:start]
    if act == "drop":
        return content[:start] + content[stop:]
    if act == "double":
        return content[:stop] + content[start:stop] * rng.choice([1, 2, 100]) + content[stop:]
    scraps = [
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\x1b[31m",
        b"\t",
        b"\r",
        b"\x85",
        b"\xe2\x80\xa8",
        b"\x7f",
        b"\x01",
    ]
    return content[:start] + rng.choice([*scraps, rng.randbytes(8)]) * rng.choice([1, 1, 1, 50]) + content[start:]

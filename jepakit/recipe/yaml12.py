"""Reads YAML 1.2 with places: the core schema's scalars and `100_000`. It refuses duplicate keys, runs no code, and bounds aliases."""

from __future__ import annotations

import re

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from jepakit.errors import shown
from jepakit.recipe.errors import LINE_BREAK, Place, Problem, Source
from jepakit.recipe.tree import Node

MAX_VALUES = 10_000
MAX_DEPTH = 50

_PLAIN = "plain"
_UNREADABLE = "\0unreadable"  # placeholder for a scalar that could not be read; YAML cannot contain a NUL
_USUAL_TAGS = (BaseResolver.DEFAULT_SCALAR_TAG, BaseResolver.DEFAULT_SEQUENCE_TAG, BaseResolver.DEFAULT_MAPPING_TAG)
_DIGITS = r"[0-9](?:_?[0-9])*"
_INT = re.compile(rf"[-+]?{_DIGITS}")
_FLOAT = re.compile(rf"[-+]?(?:\.{_DIGITS}|{_DIGITS}(?:\.(?:{_DIGITS})?)?)(?:[eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_IN_OTHER_WORDS = {
    "found character '\\t' that cannot start any token": ("a tab, where YAML wants spaces", "indent with spaces"),
    "mapping values are not allowed here": ("a second `: ` in one value", "quote a text that contains `: `, or fix the indentation"),
    "could not find expected ':'": ("this line is not `key: value`", "write `key: value`"),
}


def scalar(text: str) -> bool | int | float | str | None:
    """The value of an unquoted scalar.

    Raises:
        ValueError: An integer needs more than 64 bits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return _whole(text, 10)
    if re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+", text):
        return _whole(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _whole(text: str, base: int) -> int:
    # A longer number has more than 64 bits anyway, and Python refuses to parse thousands of digits.
    number = int(text, base) if len(text) < 100 else 2**63
    if not -(2**63) <= number < 2**63:
        raise ValueError("an integer of more than 64 bits")
    return number


class _Composer(Reader, Scanner, Parser, Composer, BaseResolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        return _PLAIN if kind is yaml.ScalarNode and implicit[0] else super().resolve(kind, value, implicit)


def read_yaml(source: Source, problems: list[Problem], start: int = 0) -> Node | None:
    """Read one YAML document.

    Args:
        source: The text.
        problems: Receives the mistakes found.
        start: Characters of the first line to skip (an override's ``path=``).

    Returns:
        The document without its unreadable values, or None if nothing can be read.
    """
    reading = _Reading(source, problems, start)
    composer: _Composer | None = None
    try:
        composer = _Composer(source.text[start:])
        document = composer.get_single_node()
        node = None if document is None else reading.value(document, ())
        return None if node is None or node.data == _UNREADABLE else node
    except yaml.MarkedYAMLError as error:
        said = f"not YAML: {shown(error.problem or '', 200)}", shown(error.context or "", 200)
        wrong, advice = _IN_OTHER_WORDS.get(error.problem or "", said)
        at_its_start = error.context == "while scanning a simple key"  # the problem is noticed on the next line
        mark = error.context_mark if at_its_start else error.problem_mark or error.context_mark
        problems.append(Problem(reading.place(mark) if mark else Place(source), wrong, advice, hides=True))
    except yaml.reader.ReaderError as error:
        before = LINE_BREAK.split(source.text[: start + error.position])
        place = Place(source, len(before), len(before[-1]) + 1)
        problems.append(Problem(place, f"a character that YAML does not allow: U+{error.character:04X}", hides=True))
    except (ValueError, OverflowError):  # PyYAML does not check the size of numbers in escapes and directives
        place = reading.place(composer.get_mark()) if composer else Place(source)
        problems.append(Problem(place, "not YAML: an escape or a directive with a number out of range", hides=True))
    except RecursionError:
        problems.append(Problem(Place(source), f"values nested more than {MAX_DEPTH} deep", hides=True))
    except _TooMuch as error:
        problems.append(Problem(error.place, str(error), hides=True))
    return None


class _TooMuch(Exception):
    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


class _Reading:
    """From PyYAML's nodes to ours."""

    def __init__(self, source: Source, problems: list[Problem], start: int) -> None:
        self.source, self.problems, self.start, self.values = source, problems, start, 0

    def place(self, mark: yaml.Mark) -> Place:
        return Place(self.source, mark.line + 1, mark.column + 1 + (self.start if mark.line == 0 else 0))

    def value(self, node: yaml.Node, within: tuple[yaml.Node, ...]) -> Node:
        place = self.place(node.start_mark)
        self.values += 1
        if node in within:
            raise _TooMuch("an alias that contains itself", place)
        if self.values > MAX_VALUES:
            raise _TooMuch(f"more than {MAX_VALUES:_} values, with every alias written out", place)
        if len(within) > MAX_DEPTH:
            raise _TooMuch(f"values nested more than {MAX_DEPTH} deep", place)
        if node.tag not in (_PLAIN, *_USUAL_TAGS):
            self.problems.append(Problem(place, f"the tag `{shown(node.tag)}`", "write the value without a tag"))
        within = (*within, node)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, place, within)
        if isinstance(node, yaml.SequenceNode):
            entries = [self.value(entry, within) for entry in node.value]
            return Node([entry for entry in entries if entry.data != _UNREADABLE], place)
        return Node(self.scalar(node, place), place)

    def scalar(self, node: yaml.Node, place: Place) -> bool | int | float | str | None:
        try:
            node.value.encode()
            return scalar(node.value) if node.tag == _PLAIN else node.value
        except UnicodeEncodeError:
            self.problems.append(Problem(place, "half a character: a lone escape such as `\\ud800`", hides=True))
        except ValueError as error:
            self.problems.append(Problem(place, str(error), "write it as a float, such as 1e20, if the field allows one", hides=True))
        return _UNREADABLE

    def mapping(self, node: yaml.MappingNode, place: Place, within: tuple[yaml.Node, ...]) -> Node:
        data: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for key_node, value_node in node.value:
            key_place = self.place(key_node.start_mark)
            key = self.scalar(key_node, key_place) if isinstance(key_node, yaml.ScalarNode) else None
            value = self.value(value_node, within)
            if not isinstance(key, str):
                self.problems.append(Problem(key_place, "this key is not a string", "put it in quotes if it is a name"))
            elif key == "<<" and key_node.tag == _PLAIN:
                self.problems.append(Problem(key_place, "a merge key: YAML 1.2 has none", "use `extends:`"))
            elif key in data:
                advice = f"the first is at {keys[key]}; keep one of the two"
                self.problems.append(Problem(key_place, f"`{shown(key)}` is written twice", advice))
            elif _UNREADABLE not in (key, value.data):
                data[key], keys[key] = value, key_place
        return Node(data, place, keys)

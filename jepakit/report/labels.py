"""Groups runs that differ only in their seed into configurations, and labels each with the values in which it differs from the others."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jepakit.recipe.schema import Recipe, besides_results, recipe_schema
from jepakit.recipe.words import Schema, Vocabulary
from jepakit.report.runs import Run

Path = tuple[str, ...]

#: Fields in which runs of one configuration may differ.
APART = {"seed"} | besides_results(Recipe)
ABSENT = object()  #: a field that some runs lack: their component gained it later and is not importable here


@dataclass(frozen=True)
class Configuration:
    """Runs of one recipe with the same plug-in code, ordered by seed."""

    label: str
    runs: tuple[Run, ...]


def group(runs: Sequence[Run]) -> list[Configuration]:
    """The configurations of the runs, sorted by label.

    The label is the name of the sweep's case, if there is one. Otherwise it lists the values in which the configuration differs from more
    than half of the others (such as ``jepa=null, patch=20``), or is the runs' name if there are none. If configurations share a case, the
    values that tell them apart are appended. A case is also split by the weights that its runs began with, if its seeds were run with each.
    """
    recipes = _completed([_deciding(run.recipe) for run in runs])
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, recipe in enumerate(recipes):
        alike[json.dumps(recipe, sort_keys=True), _code(runs[index])].append(index)
    members: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for (text, code), indices in alike.items():
        apart = _begun_apart([runs[index] for index in indices])
        for index in indices:
            members[text, code, _weights(runs[index]) if apart else ""].append(index)
    cases = [_case([runs[index].recipe for index in indices]) for indices in members.values()]
    labels = _named([recipes[indices[0]] for indices in members.values()], cases)
    codes, weights = Counter(text for text, _ in alike), Counter((text, code) for text, code, _ in members)
    configurations = []
    for label, (text, code, begun), indices in zip(labels, members, members.values(), strict=True):
        own = sorted((runs[index] for index in indices), key=lambda run: (run.seed, run.id))
        told = _joined(label, f"code={code}" if codes[text] > 1 else "", f"weights={begun}" if weights[text, code] > 1 else "")
        configurations.append(Configuration(told or min(run.name for run in own), tuple(own)))
    return sorted(configurations, key=lambda configuration: _natural(configuration.label))


def called(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A short name for each recipe's configuration: its case, or the values in which it differs from most; empty if there are none."""
    results = [_deciding(recipe) for recipe in recipes]
    texts = [json.dumps(recipe, sort_keys=True, default=str) for recipe in results]
    alike: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for recipe, text in zip(recipes, texts, strict=True):
        alike[text].append(recipe)
    shared = {text: _case(members) for text, members in alike.items()}
    meant = [(_case([recipe]) or shared[text], text) for recipe, text in zip(recipes, texts, strict=True)]
    distinct = list(dict.fromkeys(meant))
    names = dict(zip(distinct, _named([json.loads(text) for _, text in distinct], [case for case, _ in distinct]), strict=True))
    return [names[each] for each in meant]


def _named(recipes: Sequence[Mapping[str, Any]], cases: Sequence[str | None]) -> list[str]:
    """Each recipe's case, with the values that tell it from others of that case; without a case those that tell it from most recipes."""
    names = _labels(recipes)
    for case in dict.fromkeys(filter(None, cases)):
        places = [place for place, name in enumerate(cases) if name == case]
        for place, label in zip(places, _labels([recipes[place] for place in places]), strict=True):
            names[place] = _joined(case, label)
    return names


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _deciding(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that decide a run's configuration.

    Of the run that it extends, every seed another, the env steps alone. Runs of one case may begin with different weights: the encoder of
    seed k with what another run of seed k has learned.
    """
    case, parent = recipe.get("case"), recipe.get("parent")
    fields = {name: _of_case(value, case) if case else value for name, value in recipe.items() if name not in APART}
    return fields | {"parent": f"any@{parent.rpartition('@')[2]}"} if isinstance(parent, str) else fields


def _of_case(value: Any, case: Any) -> Any:
    """A recipe's value, with a file of weights, which lies in the run's folder, named after the case."""
    if isinstance(value, dict):
        return {name: _of_case(entry, case) for name, entry in value.items()}
    if isinstance(value, list):
        return [_of_case(entry, case) for entry in value]
    return f"of {case}" if isinstance(value, str) and value.startswith("weights/") else value


def _case(recipes: Sequence[Mapping[str, Any]]) -> str | None:
    """The case's name, if one is written and no other; else None. Runs from before the sweep have none."""
    names = {name for recipe in recipes if (name := recipe.get("case"))}
    (name, *others) = names or {None}
    return name if isinstance(name, str) and not others else None


def _begun_apart(runs: Sequence[Run]) -> bool:
    """Whether runs that are alike have their seeds more than once because all seeds were run with each of several weights.

    Not where each seed began with weights of its own: their average is over these, too.
    """
    times = Counter(run.seed for run in runs).most_common(1)[0][1]
    return 1 < len({_weights(run) for run in runs}) <= times


def _weights(run: Run) -> str:
    """Six digits of each file of weights that a run began with; `none` if it began with none, or was recorded before they were noted."""
    return "-".join(digest[:6] for digest in run.provenance.get("weights_sha256") or ()) or "none"


def _code(run: Run) -> str:
    """Six digits of a hash of the run's source digests, of a case's without those of weights.

    Runs without plug-ins and runs from before digests were noted share one value.
    """
    sources, weights = run.provenance.get("sources"), run.provenance.get("weights_sha256")
    if run.recipe.get("case") and isinstance(sources, list) and isinstance(weights, list):
        sources = [digest for digest in sources if digest not in weights]
    return hashlib.sha256(json.dumps(sources or None).encode()).hexdigest()[:6]


def _labels(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    parts: list[list[str]] = [[] for _ in recipes]
    paths = {path for recipe in recipes for path, _ in _nodes(recipe)}
    _tell_apart(dict(enumerate(recipes)), (), paths, parts)
    return [", ".join(part) for part in parts]


def _tell_apart(values: Mapping[int, Any], path: Path, paths: set[Path], parts: list[list[str]]) -> None:
    """Add to each configuration's ``parts`` the values here that most others do not have.

    Only values of the same shape are compared entry by entry: if the kinds differ, naming the kind is enough.
    """
    shapes = {index: _shape(value) for index, value in values.items()}
    shape, count = Counter(shapes.values()).most_common(1)[0]
    usual = shape if 2 * count > len(values) else None
    for index, value in values.items():
        if shapes[index] != usual:
            parts[index].append(_part(_tail(path, paths), value))
    for shape in dict.fromkeys(shapes.values()):
        alike = {index: _entries(value) for index, value in values.items() if shapes[index] == shape}
        for key in sorted({key for entries in alike.values() for key in entries}):
            _tell_apart({index: entries.get(key, ABSENT) for index, entries in alike.items()}, (*path, key), paths, parts)


def _shape(value: Any) -> str:
    """A key that two values share if their entries can be compared; for a value without entries, the value itself."""
    if is_list_of_components(value):
        return f"components {[entry['kind'] for entry in value]}"
    if isinstance(value, dict):
        return f"mapping {value.get('kind')}"
    return "absent" if value is ABSENT else json.dumps(value)


def _entries(value: Any) -> dict[str, Any]:
    if is_list_of_components(value):
        return numbered(value)
    return {key: entry for key, entry in value.items() if key != "kind"} if isinstance(value, dict) else {}


def numbered(components: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """A list's components by kind; those of a kind that is there more than once with their place in the list, as ``shift#2``."""
    kinds = [entry["kind"] for entry in components]
    return {
        kind if kinds.count(kind) == 1 else f"{kind}#{at + 1}": entry
        for at, (kind, entry) in enumerate(zip(kinds, components, strict=True))
    }


def is_list_of_components(value: Any) -> bool:
    """Whether a recipe's value is a list of components, one or more."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(entry, dict) and isinstance(entry.get("kind"), str) for entry in value)
    )


def _nodes(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, value
    for key, entry in _entries(value).items():
        yield from _nodes(entry, (*path, key))


def _tail(path: Path, paths: set[Path]) -> str:
    """The shortest unambiguous end of a path."""
    tails = (path[-length:] for length in range(1, len(path)))
    return ".".join(next((tail for tail in tails if sum(other[-len(tail) :] == tail for other in paths) == 1), path))


def _part(name: str, value: Any) -> str:
    if is_list_of_components(value):
        return f"{name}=[{', '.join(entry['kind'] for entry in value)}]"
    if isinstance(value, dict):
        return f"{name}={value['kind']}" if "kind" in value else name
    if isinstance(value, str) and value.endswith(".safetensors"):
        return f"{name}={value.rpartition('/')[2].removesuffix('.safetensors')}"
    return f"{name} unset" if value is ABSENT else f"{name}={value if isinstance(value, str) else json.dumps(value)}"


def _natural(label: str) -> list[tuple[bool, float, str]]:
    """A sort key that orders numbers by value: ``dim=64`` before ``dim=128``."""
    steps = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", label)
    return [(bool(index % 2), float(step) if index % 2 else 0.0, step) for index, step in enumerate(steps)]


def _completed(recipes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The recipes, with today's defaults for fields that older recipes lack. The default of a new field reproduces the old behaviour."""
    fields = defaultdict(set)
    for recipe in recipes:
        for path, value in _nodes(recipe):
            if isinstance(value, dict):
                fields[path, str(value.get("kind"))].add(frozenset(value))
    if all(len(found) == 1 for found in fields.values()):
        return recipes  # the usual case, kept fast: the schema imports every component
    schema = recipe_schema()
    completed = copy.deepcopy(recipes)
    for recipe in completed:
        _complete(recipe, schema, Vocabulary(schema))
    return [{name: value for name, value in recipe.items() if name not in APART} for recipe in completed]


def _complete(value: Any, schema: Schema, words: Vocabulary) -> None:
    if isinstance(value, dict):
        for name in words.fields(schema, value):
            field = words.entry(schema, value, name)
            if name not in value and "default" in field:
                value[name] = copy.deepcopy(field["default"])
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        _complete(entry, words.entry(schema, value, key), words)

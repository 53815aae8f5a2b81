"""Finished runs as plain data, read from their folders or from records. No plug-in code is executed."""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from jepakit.errors import UserError, printable
from jepakit.files.reading import Unreadable, read_bytes, walk
from jepakit.recipe.errors import Problem, RecipeError, Source
from jepakit.storage.recipes import Recipes

CURVES = ("env_steps", "return_last_100", "embedding/variance", "embedding/mean_square", "embedding/rank", "loss/jepa")
DIGITS = 5  #: significant digits of a curve's values
POINTS = 500  #: of a curve at most; a longer one keeps every second, third, … train record, and the last
Finished = Literal["finished", "stopped"]
FINISHED = get_args(Finished)  #: statuses of a run that ended as its recipe says; reports skip all others

MAX_BYTES = 1024**3  #: of one file; a run's metrics may be long

_ADVICE = "name run folders, records, or folders that contain either"
_RECORD_NAME = re.compile(r"[0-9a-f]{10}\.json")
_EPISODE = '{"phase": "episode", '
_RUN_FILES = ("events.jsonl", "metrics.jsonl", "summary.json")
#: The folders of a path that leads out of the current one, also within an argument: they may name a user.
_OUTSIDE = re.compile(r"(?<![\w.:~/])(?:file:)?(?:~[^/,\]}'\" ]*|\.\.)?/(?:[^/,\]}'\"]*/)*")


class _Summary(BaseModel):
    """The part of ``summary.json`` that reports read."""

    model_config = ConfigDict(extra="allow", strict=True)
    status: Finished
    env_steps: NonNegativeInt
    return_last_100: float | None
    return_auc: float | None
    embedding_variance: float | None
    embedding_rank: float | None
    collapsed: bool


class _Played(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    mean: float


class _Evaluation(BaseModel):
    """The part of ``eval.json`` that reports read."""

    model_config = ConfigDict(extra="allow", strict=True)
    episodes: PositiveInt
    greedy: _Played
    sampled: _Played


class _Recipe(BaseModel):
    """The part of a recipe that reports read."""

    model_config = ConfigDict(extra="allow", strict=True)
    name: str
    seed: int
    total_steps: int


class _Content(BaseModel):
    """A run as JSON: the content of a record."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{10}$")]  # it becomes a file name: an untrusted one must not lead elsewhere
    name: str
    seed: int
    recipe: _Recipe
    summary: _Summary
    curves: dict[str, list[float | None]]
    evaluation: _Evaluation | None
    provenance: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run. Its folder and its record give the same `Run`."""

    id: str
    name: str
    seed: int
    recipe: dict[str, Any]  #: resolved, as plain data
    summary: dict[str, Any]  #: summary.json
    curves: dict[str, NDArray[np.float64]]  #: by metric (`CURVES`): one value per train record (at most `POINTS`), NaN if it has none
    evaluation: dict[str, Any] | None  #: eval.json
    provenance: dict[str, Any]  #: provenance.json without paths and process id


def load_runs(paths: Iterable[str | Path]) -> list[Run]:
    """The finished runs at and below ``paths``, each once.

    Args:
        paths: Run folders, records, and folders that contain either at any depth.

    Raises:
        UserError: A path does not exist, there is no finished run, or a run that is named itself, or the only one, is corrupt.
    """
    return [run for run, _ in load_placed(paths)]


def load_placed(paths: Iterable[str | Path]) -> list[tuple[Run, Path]]:
    """What `load_runs` gives, each run with its folder or record.

    Of a run that is found more than once, a folder counts before a record, because it holds more, and a folder with checkpoints before
    one without. An evaluation that only another of them has is kept.
    """
    places = [Path(path) for path in paths]
    runs: dict[str, tuple[Run, Path]] = {}
    left_out: list[str] = []
    damaged: list[UserError] = []
    index = Recipes()
    for path in dict.fromkeys(found for place in places for found in find_runs(place)):
        try:
            if path.is_dir() and (state := _state(path)) not in FINISHED:
                left_out.append(f"{path} ({state})")
                continue
            run = read_folder(path, index) if path.is_dir() else read_record(path)
        except UserError as error:
            if path in places:
                raise
            damaged.append(error)
            continue
        known, place = runs.get(run.id, (run, path))
        kept, where = max((known, place), (run, path), key=lambda found: _richness(*found))
        if any(known.summary[name] != run.summary[name] for name in ("env_steps", "return_last_100", "return_auc")):
            other = path if where == place else place
            warnings.warn(f"{printable(f'{other} and {where}')} are run {run.id} with different results: {where} is taken", stacklevel=2)
        runs[run.id] = replace(kept, evaluation=kept.evaluation or run.evaluation or known.evaluation), where
    index.save()
    if left_out:
        warnings.warn(f"skipped unfinished runs: {', '.join(left_out)}", stacklevel=2)
    if damaged and not runs:
        raise damaged[0]
    for each in damaged:
        warnings.warn(f"left out: {each}", stacklevel=2)
    if not runs:
        raise UserError(f"no finished run in {', '.join(map(str, places)) or 'nothing'}: {_ADVICE}")
    return list(runs.values())


def _richness(run: Run, path: Path) -> tuple[bool, bool, bool]:
    return path.is_dir(), (path / "checkpoints").is_dir(), run.evaluation is not None


def read_record(path: Path) -> Run:
    """The run in a record.

    Raises:
        UserError: The file is not a record, or is corrupt.
    """
    return _run(_json(path), path)


def read_folder(path: Path, index: Recipes | None = None) -> Run:
    """The finished run in a folder.

    Args:
        path: The folder.
        index: What is known of recipes, if several runs are read.

    Raises:
        UserError: One of its files is missing or corrupt.
    """
    text = _text(path / "recipe.yaml")
    recipe = _recipe(path / "recipe.yaml", text, index or Recipes())
    summary = _json(path / "summary.json")
    provenance = _json(path / "provenance.json")
    content = {
        "id": summary.get("id") or hashlib.sha256(text.encode()).hexdigest()[:10],
        "name": recipe.get("name"),
        "seed": recipe.get("seed"),
        "recipe": _of_no_place(recipe, provenance),
        "summary": summary,
        "curves": _curves(path / "metrics.jsonl"),
        "evaluation": _evaluation(path, summary),
        "provenance": _of_no_machine(provenance),
    }
    return _run(content, path)


def _evaluation(path: Path, summary: dict[str, Any]) -> dict[str, Any] | None:
    """The evaluation of the run's final weights; none, with a warning, if only earlier ones were evaluated."""
    file = path / "eval.json"
    return of_final_weights(_json(file) if file.exists() else None, file, summary, f"evaluate anew with `jepakit eval {path}`")


def of_final_weights(found: dict[str, Any] | None, file: Path, summary: Mapping[str, Any], advice: str) -> dict[str, Any] | None:
    """What was ``found`` in a file of a run's results; None, with a warning, if it is of earlier weights than the run's final ones."""
    now = summary.get("env_steps")
    if found and found.get("env_steps", now) != now:
        told = f"{file} is of weights at {found['env_steps']} env steps, and the run has {now}"
        warnings.warn(f"{printable(told)}: left out; {advice}", stacklevel=3)
        return None
    return found


def _run(content: dict[str, Any], path: Path) -> Run:
    try:
        _Content.model_validate(content)
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
        curves = {name: np.array(content["curves"][name], dtype=np.float64) for name in CURVES}
        if len({len(curve) for curve in curves.values()}) > 1:
            raise UserError(f"{path} is not a valid run: its curves differ in length")
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path} is not a valid run: `{'.'.join(map(str, first['loc']))}`: {first['msg']}") from None
    except KeyError as error:
        raise UserError(f"{path} is not a valid run: it has no curve {error}") from None
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path} is not a valid run: {error}") from None
    return Run(**content | {"curves": curves})


def find_runs(path: Path) -> Iterator[Path]:
    """Run folders and records at and below a path, in an order that does not depend on the file system."""
    try:
        there = path.exists()
    except OSError:  # for example, a name of a thousand characters
        there = False
    if not there:
        raise UserError(f"there is no {path}: {_ADVICE}")
    if not path.is_dir():
        yield path
        return
    for folder, below, files in walk(path):
        if any(name in files for name in _RUN_FILES):
            below.clear()
            yield folder
            continue
        yield from (folder / name for name in files if _RECORD_NAME.fullmatch(name))


def _state(path: Path) -> str:
    if not (path / "summary.json").exists():
        return "running, or was killed"
    return str(_json(path / "summary.json").get("status"))


def _text(path: Path) -> str:
    try:
        return read_bytes(path, MAX_BYTES).decode()
    except Unreadable as error:
        raise UserError(f"can't read {path}: {error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is corrupt: not UTF-8") from None


def _json(path: Path) -> dict[str, Any]:
    return _object(_text(path), path, str(path))


def _object(text: str, path: Path, place: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is corrupt: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{place} is corrupt: not a JSON object")
    return content


def _recipe(path: Path, text: str, index: Recipes) -> dict[str, Any]:
    problems: list[Problem] = []
    plain = index.read(Source(str(path), text, path.parent), problems)
    if problems:
        raise RecipeError(problems)
    if not isinstance(plain, dict):
        raise UserError(f"{path} is corrupt: a recipe must be a mapping of fields")
    return plain


def _curves(path: Path) -> dict[str, list[float | None]]:
    records = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.startswith(_EPISODE) and line.endswith("}"):
            continue  # most lines, and of no use here
        record = _object(line, path, f"{path}:{number}")
        if record.get("phase") == "train":
            records.append(record)
    if not records:
        raise UserError(f"{path} is corrupt: it has no record with phase `train`")
    kept = records[:: -math.ceil(len(records) / POINTS)][::-1]
    return {name: [_rounded(record.get(name)) for record in kept] for name in CURVES}


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _of_no_place(recipe: dict[str, Any], provenance: dict[str, Any]) -> dict[str, Any]:
    """The recipe with its source's folder by name, and digits of its contents or, of a run that did not note them, of its path."""
    source, data = recipe.get("source"), provenance.get("data")
    if not isinstance(source, dict):
        return recipe
    noted = data if isinstance(data, dict) else {}
    named = {
        field: f"{value.rpartition('/')[2]}@{hashlib.sha256(str(noted.get(f'source.{field}', value)).encode()).hexdigest()[:6]}"
        for field, value in source.items()
        if isinstance(value, str) and value.startswith("/")
    }
    return recipe | {"source": source | named}


def _without_folders(argument: str) -> str:
    """An argument without folders outside the current one; one that is a path as a whole may have any letter in it."""
    name, equals, value = argument.partition("=")
    if argument.startswith("/"):
        return argument.rpartition("/")[2]
    return f"{name}={value.rpartition('/')[2]}" if equals and value.startswith("/") else _OUTSIDE.sub("", argument)


def _of_no_machine(provenance: dict[str, Any]) -> dict[str, Any]:
    said = provenance.get("command")
    command = [_without_folders(printable(str(argument))) for argument in (said if isinstance(said, list) else ())]
    return {name: value for name, value in provenance.items() if name not in ("pid", "weights")} | {"command": command}

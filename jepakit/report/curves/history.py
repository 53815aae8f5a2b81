"""Every number that a run recorded, as curves. The run may be in any state; no code of it is executed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import UserError, printable
from jepakit.files.reading import Unreadable, read_bytes
from jepakit.report.runs import MAX_BYTES, Run

Array = NDArray[np.float64]

NO_METRICS = ("phase", "env_steps", "wall_s")
UNNAMED = ("train", "episode")  #: phases whose fields are named as they are
EPISODE = "episode_return"  #: one value an episode
RETURN = "return_last_100"
MOST_METRICS = 500  #: different names; a file with more is none that jepakit wrote
LONGEST_NAME = 100
LARGEST = 1e300


class Series(NamedTuple):
    """A metric against env steps, in the order in which it was recorded."""

    env_steps: Array  #: [points]
    values: Array  #: [points], all finite

    def every(self, stride: int) -> Series:
        """Every ``stride``-th point: for dots, whose spread is to stay as it is."""
        return Series(self.env_steps[::stride], self.values[::stride])

    def thinned(self, most: int) -> Series:
        """At most ``most`` points: of each of ``most // 2`` equal parts its lowest and its highest value, so that no peak is lost."""
        if len(self.values) <= most:
            return self
        edges = np.linspace(0, len(self.values), most // 2 + 1).astype(int)
        kept = {0, len(self.values) - 1}
        for start, end in pairwise(edges):
            part = self.values[start:end]
            kept |= {start + int(part.argmin()), start + int(part.argmax())}
        at = np.array(sorted(kept))
        return Series(self.env_steps[at], self.values[at])


History = Mapping[str, Series]  #: by metric


def read_history(path: Path) -> History:
    """The metrics of the run in folder ``path``, also while a process is writing it.

    Of a phase other than ``train`` and ``episode``, fields without a group of their own get the phase as one: ``eval/…``.

    Raises:
        UserError: ``metrics.jsonl`` does not exist, cannot be read or is corrupt.
    """
    file = path / "metrics.jsonl"
    return _curves((_record(line, f"{file}:{number}") for number, line in enumerate(_lines(file), start=1)), str(file))


def read_newest_list(path: Path, name: str) -> Array | None:
    """The newest value of a figure that is a list of numbers, such as ``spectrum/shares``; None if the run has recorded none.

    Raises:
        UserError: ``metrics.jsonl`` does not exist, cannot be read or is corrupt.
    """
    file = path / "metrics.jsonl"
    quoted = json.dumps(name).encode()
    line = next((line for line in reversed(_lines(file)) if quoted in line), None)
    value = _record(line, str(file)).get(name) if line else None
    return np.array(value, dtype=float) if isinstance(value, list) and value and all(map(_is_number, value)) else None


def _lines(file: Path) -> list[bytes]:
    try:
        content = read_bytes(file, MAX_BYTES)
    except Unreadable as error:
        raise UserError(f"can't read {file}: {error}") from None
    return content.split(b"\n")[:-1]  # the last line is empty, or still being written


def history_of(run: Run) -> History:
    """The metrics that a record holds."""
    steps = run.curves["env_steps"]
    known = {name: ~np.isnan(curve) for name, curve in run.curves.items() if name != "env_steps"}
    return {name: Series(steps[there], run.curves[name][there]) for name, there in known.items() if there.any()}


def _record(line: bytes, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is corrupt: not JSON ({error})") from None
    if not isinstance(record, dict) or not _is_number(record.get("env_steps")):
        raise UserError(f"{place} is corrupt: not a record with `env_steps`")
    return record


def _curves(records: Iterable[dict[str, Any]], place: str) -> History:
    points: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for record in records:
        phase = str(record.get("phase"))
        for name, value in record.items():
            if name in NO_METRICS or not _is_number(value):
                continue
            steps, values = points[_named(phase, name)]
            steps.append(float(record["env_steps"]))
            values.append(float(value))
        if len(points) > MOST_METRICS:
            raise UserError(f"{place} has more than {MOST_METRICS} different metrics")
    return {name: Series(np.array(steps), np.array(values)) for name, (steps, values) in points.items()}


def _named(phase: str, name: str) -> str:
    alone = phase in UNNAMED or "/" in name
    return printable(name if alone else f"{phase}/{name}").replace("\n", " ")[:LONGEST_NAME]


def _is_number(value: Any) -> bool:
    """Whether it is a number that can be drawn: sums and differences of two are finite, too."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST

"""The probes of several runs, by configuration: ``probe.json`` of each, as tables and as one record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError, model_validator

from jepakit.errors import UserError, shown
from jepakit.files.reading import Unreadable, read_text
from jepakit.files.writing import variant, write_atomically
from jepakit.report.labels import group
from jepakit.report.runs import Run
from jepakit.report.statistics import held_out_return, interquartile_mean
from jepakit.report.tables import Table, markdown

NAMES = {"sampled": "probe.json", "random": "probe-random.json"}  #: by the policy that played
MEAN = "mean"
KINDS = {"linear": "linear probe", "mlp": "small MLP"}
SOURCES = {"predicted": "predicted ŝ_y", "encoded": "encoded then", "copied": "copied from now"}
MOST_COLUMNS = 12  #: of more variables, such as the bytes of a console's memory, tables show the mean alone

R2 = dict[str, float | None]


class _Checked(BaseModel):
    """Takes no text for a number, no bool and nothing infinite. Models do not pass this on to those within them."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Counts(_Checked):
    fit: NonNegativeInt
    held_out: NonNegativeInt


class _Known(_Checked):
    linear: R2
    mlp: R2


class _Ahead(_Checked):
    k: list[NonNegativeInt]
    predicted: dict[str, list[float | None]]
    encoded: dict[str, list[float | None]]
    copied: dict[str, list[float | None]]
    space: Literal["s_x", "projection"] = "s_x"


class ProbeFile(_Checked):
    """The content of ``probe.json``."""

    env_steps: NonNegativeInt
    best: bool
    seed: NonNegativeInt
    policy: Literal["sampled", "random"]
    episodes: _Counts
    observations: _Counts
    r2: _Known
    ahead: _Ahead | None
    overrides: list[str] | None = None
    state: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> ProbeFile:
        lengths = {len(values) for name in SOURCES for values in getattr(self.ahead, name).values()} if self.ahead else set()
        if self.ahead and lengths != {len(self.ahead.k)}:
            raise ValueError("`ahead` must have a value for each k")
        if self.r2.linear.keys() != self.r2.mlp.keys():
            raise ValueError("both probes must have the same variables")
        if not all(MEAN in each for each in (self.r2.linear, *(getattr(self.ahead, name) for name in SOURCES if self.ahead))):
            raise ValueError("`mean` is missing")
        return self


class Probed(NamedTuple):
    """A finished run and the content of its ``probe.json``."""

    run: Run
    probe: Mapping[str, Any]


def probe_name(policy: str, best: bool, overrides: Sequence[str] = ()) -> str:
    """The name of the file of a probe: ``probe.json``, or another if it is of other weights than the newest, or was made elsewhere."""
    return variant(NAMES[policy], [*overrides, *(["best"] if best else [])])


def read_probe(run: Path, policy: str = "sampled", best: bool = False) -> dict[str, Any] | None:
    """The ``probe.json`` of the run in a folder, or that of another policy or of the best weights; None if there is none.

    Raises:
        UserError: The file is corrupt.
    """
    file = run / probe_name(policy, best)
    if not file.exists():
        return None
    try:
        found = ProbeFile.model_validate(json.loads(read_text(file))).model_dump(exclude_unset=True)
        return found if found["best"] == best else None  # earlier versions wrote the best weights' to probe.json, too
    except Unreadable as error:
        raise UserError(f"can't read {file}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = f"`{shown('.'.join(map(str, first['loc'])))}`: " if first["loc"] else ""
        raise UserError(f"{file} is corrupt: {where}{first['msg'].removeprefix('Value error, ')}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is corrupt: not JSON ({error})") from None


class Summary(NamedTuple):
    """A configuration's probes."""

    label: str
    probed: tuple[Probed, ...]  #: ordered by seed


def summaries(probed: Sequence[Probed]) -> list[Summary]:
    """The runs by configuration, labelled as ``jepakit compare`` does."""
    by_run = {id(each.run): each for each in probed}
    configurations = group([each.run for each in probed])
    return [Summary(configuration.label, tuple(by_run[id(run)] for run in configuration.runs)) for configuration in configurations]


def known_table(found: Sequence[Summary], kind: str, *, ranges: bool) -> Table:
    """R² of each variable by configuration: the interquartile mean over runs and, with ``ranges``, the lowest and the highest run."""
    names = _names(found, kind)
    headings = ["configuration", "runs", "return", *names, MEAN]
    rows = []
    for label, probed in found:
        values = [[each.probe["r2"][kind].get(name) for each in probed] for name in (*names, MEAN)]
        returns = [each.run.summary["return_last_100"] for each in probed]
        rows.append([label, str(len(probed)), _cell(returns, ranges, "{:.1f}".format), *(_cell(value, ranges) for value in values)])
    return headings, rows


def ahead_table(found: Sequence[Summary], variable: str = MEAN, *, ranges: bool) -> Table:
    """R² of a variable, or the mean of all, k steps ahead by configuration; no rows if no run has a predictor."""
    rows = []
    steps: list[int] = []
    for label, probed in found:
        aheads = [ahead for each in probed if (ahead := each.probe["ahead"])]
        steps = steps or [k for ahead in aheads[:1] for k in ahead["k"]]
        aheads = [ahead for ahead in aheads if ahead["k"] == steps]
        for source, name in SOURCES.items() if aheads else ():
            values = [[ahead[source].get(variable, [None] * len(steps))[at] for ahead in aheads] for at in range(len(steps))]
            rows.append([label, name, *(_cell(value, ranges) for value in values)])
    return ["configuration", "read off", *(f"k={k}" for k in steps)], rows


def notes(found: Sequence[Summary]) -> list[str]:
    """How to read the tables."""
    texts = [
        f"R² on held-out episodes of the {_policy(found)} policy: 1 is perfect, 0 is no better than the mean. Interquartile means over "
        "runs; the return is that of the last 100 training episodes.",
    ]
    if len(_all_names(found)) > MOST_COLUMNS:
        texts.append(f"There are {len(_all_names(found))} state variables: the tables show their mean alone, the files each of them.")
    return texts


def write_probes(found: Sequence[Summary], folder: Path) -> tuple[Path, Path]:
    """Write ``probes.json``, one entry a run, and ``probes.md``, the tables; under another policy ``probes-random.…``.

    Raises:
        UserError: The folder cannot be written to.
    """
    page = [
        f"# Probes, {_policy(found)} policy\n",
        "In brackets the lowest and the highest run.\n",
        *(f"{note}\n" for note in notes(found)),
    ]
    for kind, title in KINDS.items():
        page += [f"## What s_x tells: {title}\n", markdown(*known_table(found, kind, ranges=True))]
    for variable in (MEAN, *_names(found, "linear")):
        headings, rows = ahead_table(found, variable, ranges=True)
        if rows:
            title = "mean of all variables" if variable == MEAN else variable
            page += [f"## k predicted steps ahead: {title}\n", markdown(headings, rows)]
    entries = [
        {
            "id": each.run.id,
            "name": each.run.name,
            "configuration": label,
            "seed": each.run.seed,
            "return_last_100": each.run.summary["return_last_100"],
            "held_out_return": held_out_return(each.run),
            "embedding_variance": each.run.summary["embedding_variance"],
            "embedding_rank": each.run.summary["embedding_rank"],
            "collapsed": each.run.summary["collapsed"],
            "probe": each.probe,
        }
        for label, probed in found
        for each in probed
    ]
    lines = ",\n".join(json.dumps(entry, allow_nan=False, ensure_ascii=False) for entry in entries)
    data, text = (folder / NAMES[_policy(found)].replace("probe", "probes").replace(".json", ending) for ending in (".json", ".md"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(text, "\n".join(page))
        write_atomically(data, f'{{"runs": [\n{lines}\n]}}\n')
    except OSError as error:
        raise UserError(f"can't write to {folder}: {error.strerror}") from None
    return data, text


def _policy(found: Sequence[Summary]) -> str:
    return str(found[0].probed[0].probe["policy"])


def _all_names(found: Sequence[Summary]) -> list[str]:
    kinds = [each.probe["r2"]["linear"] for _, probed in found for each in probed]
    return list(dict.fromkeys(name for known in kinds for name in known if name != MEAN))


def _names(found: Sequence[Summary], kind: str) -> list[str]:
    names = _all_names(found)
    return names if len(names) <= MOST_COLUMNS else []


def shortened(r2: float) -> str:
    """An R² for a table. Far below 0 it tells nothing but that the probe fails."""
    return "< -100" if r2 < -100 else f"{r2:.2f}"


def _cell(values: Sequence[float | None], ranges: bool, show: Callable[[float], str] = shortened) -> str:
    there = [value for value in values if value is not None]
    if not there:
        return "–"
    mean = float(interquartile_mean(np.array(there, dtype=np.float64)[:, None]))
    return show(mean) + (f" [{show(min(there))}, {show(max(there))}]" if ranges and len(there) > 1 else "")

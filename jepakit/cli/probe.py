"""``jepakit probe``: what of the simulator's true state a run's embedding tells."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepakit.cli import completion
from jepakit.cli.options import BestOption, TrustOption, WhereOption, episodes_seed

if TYPE_CHECKING:
    from rich.console import RenderableType


class Policy(StrEnum):
    """Who acts."""

    sampled = "sampled"
    random = "random"


MOST_ROWS = 24  #: variables that a table shows: the best known ones


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS…", help="Run folders, or folders that contain some.", show_default=False, autocompletion=completion.runs
        ),
    ],
    episodes: Annotated[
        int, typer.Option("--episodes", "-n", metavar="N", min=3, help="Episodes to play; a third of them is held out.")
    ] = 60,
    seed: Annotated[int | None, episodes_seed("Seed of the episodes. Default: the run's seed + 1,000,003.")] = None,
    policy: Annotated[
        Policy, typer.Option("--policy", help="Who acts: the run's policy, or random actions, under which all runs see the same episodes.")
    ] = Policy.sampled,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="FILE.py:FUNCTION",
            help="Read the true state by your function of the simulator, which returns {name: number}.",
            show_default=False,
        ),
    ] = None,
    overrides: WhereOption = None,
    best: BestOption = False,
    missing: Annotated[bool, typer.Option("--missing", help="Play only the runs that have no probe.json; read the others'.")] = False,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="DIR", help="Write probes.json and probes.md of finished runs to DIR.", show_default=False),
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Ask what of the simulator's true state a run's embedding tells: R² of linear and small-MLP probes; write RUN/probe.json.

    With --policy random the result is written to RUN/probe-random.json. With --set the agent acts elsewhere than it was trained, and the
    result is written to a file beside it, RUN/probe-….json. So is one with --best.
    """
    from jepakit.agent.named_function import named_function
    from jepakit.agent.probe import probe
    from jepakit.cli.output import counted, emit
    from jepakit.errors import UserError
    from jepakit.report.probes import probe_name
    from jepakit.storage.stored import run_folders

    def warn(text: str) -> None:
        typer.echo(f"warning: {text}", err=True)

    if overrides and (record or missing):
        raise UserError(f"--{'record' if record else 'missing'} is of probe.json, where the agent acts as it was trained: leave out --set")
    read = named_function(state, "--state") if state else None
    folders = run_folders(runs)
    stored = _stored(folders, policy.value, state, best) if missing else {}
    results: dict[Path, Mapping[str, Any]] = {}
    for place, run in enumerate(folders, start=1):
        result = stored.get(run)
        if result is None:
            label = "episodes" if len(folders) == 1 else f"run {place} of {len(folders)}"
            with typer.progressbar(length=episodes, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
                result = probe(
                    run,
                    episodes,
                    seed,
                    policy=policy.value,
                    state=read,
                    overrides=overrides or (),
                    best=best,
                    trust=trust,
                    warn=warn,
                    on_episode=partial(bar.update, 1),
                )
            if state:
                result["state"] = state
            written = _write(run, result, warn)  # before it is printed, which may fail
            if len(folders) == 1:
                emit(*_of_one(run, result), *([f"written to {written}"] if written else []))
            elif not sys.stderr.isatty():
                typer.echo(f"{run}: mean R² {_number(result['r2']['linear']['mean'])}", err=True)
        elif len(folders) == 1:
            emit(*_of_one(run, result))
        results[run] = result
    if len(folders) > 1 or record:
        emit(*_of_all(results, record, shown=len(folders) > 1))
        if len(folders) > 1 and not missing:
            emit(f"wrote {probe_name(policy.value, best, overrides or ())} of {counted(len(folders), 'run')}")


def _stored(runs: Sequence[Path], policy: str, state: str | None, best: bool) -> Mapping[Path, Mapping[str, Any]]:
    """The results that lie in runs' folders, without those of runs that have learned more since.

    Raises:
        UserError: They, and those that are to be made, are not all of the same variables.
    """
    from jepakit.errors import UserError
    from jepakit.report.probes import read_probe
    from jepakit.storage.folder import read_summary

    found = {run: result for run in runs if (result := read_probe(run, policy, best))}
    found = {
        run: result
        for run, result in found.items()
        if result["best"] or result["env_steps"] == (read_summary(run) or {}).get("env_steps", result["env_steps"])
    }
    made = {run: result.get("state") for run, result in found.items()}
    if len(found) < len(runs):
        made[Path("what is missing")] = state
    if len(set(made.values())) > 1:
        how = "; ".join(f"{run}: --state {of or 'not given'}" for run, of in made.items())
        raise UserError(f"--missing: these probes cannot stand in one table ({how}): leave out --missing")
    return found


def _write(run: Path, result: Mapping[str, Any], warn: Any) -> Path | None:
    import json

    from jepakit.files.writing import write_atomically
    from jepakit.report.probes import probe_name

    path = run / probe_name(result["policy"], result["best"], result.get("overrides", ()))
    try:
        write_atomically(path, json.dumps(result, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        warn(f"can't write {path}: {error.strerror}")
        return None
    return path


def _of_one(run: Path, result: Mapping[str, Any]) -> list[RenderableType]:
    """What is printed of one run."""
    from jepakit.cli.output import table
    from jepakit.report.probes import KINDS, SOURCES

    known, counts = result["r2"], result["episodes"]
    varying = [name for name, value in known["linear"].items() if value is not None and name != "mean"]
    listed = varying if len(varying) <= MOST_ROWS else sorted(varying, key=lambda name: -known["linear"][name])[:MOST_ROWS]
    constant = len(known["linear"]) - 1 - len(varying)
    blocks: list[RenderableType] = [
        f"{run}: weights of {result['env_steps']:,} env steps, {result['policy']} policy, {counts['fit']} episodes to fit and "
        f"{counts['held_out']} held out ({result['observations']['held_out']:,} observations), seed {result['seed']}",
        table("R² from s_x", *KINDS.values(), rows=[(name, *(_number(known[kind][name]) for kind in KINDS)) for name in (*listed, "mean")]),
    ]
    if len(listed) < len(varying):
        blocks.append(f"the best known {len(listed)} of {len(varying)} variables; the mean is of all")
    if constant:
        blocks.append(f"{constant} of {len(known['linear']) - 1} variables did not change, and have no R²")
    if ahead := result["ahead"]:
        rows = [(name, *map(_number, ahead[source]["mean"])) for source, name in SOURCES.items()]
        blocks += ["", table("R² k steps ahead, mean", *(f"k={k}" for k in ahead["k"]), rows=rows)]
        if ahead.get("space") == "projection":
            blocks.append("read off projections: behind a projector, predictions need not lie where s_x lies")
    return blocks


def _of_all(results: Mapping[Path, Mapping[str, Any]], record: Path | None, *, shown: bool) -> list[RenderableType]:
    """What is printed of several runs; writes the record."""
    from jepakit.cli.output import fitting_table
    from jepakit.errors import UserError
    from jepakit.report.probes import KINDS, Probed, ahead_table, known_table, notes, summaries, write_probes
    from jepakit.report.runs import FINISHED, read_folder
    from jepakit.storage.folder import read_summary

    ended = {run: (read_summary(run) or {}).get("status") in FINISHED for run in results}
    probed = [Probed(read_folder(run), result) for run, result in results.items() if ended[run]]
    unfinished = [str(run) for run, finished in ended.items() if not finished]
    blocks: list[RenderableType] = [f"not in the tables, as unfinished: {', '.join(unfinished)}"] if unfinished else []
    if not probed:
        if record:
            raise UserError("--record: none of the runs has finished")
        return blocks
    found = summaries(list({each.run.id: each for each in reversed(probed)}.values()))  # a copied run counts once
    for kind, title in KINDS.items() if shown else ():
        headings, rows = known_table(found, kind, ranges=False)
        grid, _ = fitting_table(headings, rows, foldable=("configuration",), less=("runs", "return"))
        blocks += [f"R² from s_x, {title}", grid, ""]
    headings, rows = ahead_table(found, ranges=False)
    if rows and shown:
        blocks += ["R² k steps ahead, mean of all variables", fitting_table(headings, rows, foldable=("configuration",))[0], ""]
    blocks += notes(found) if shown else []
    if record:
        blocks.append(f"wrote {', '.join(map(str, write_probes(found, record)))}")
    return blocks


def _number(value: float | None) -> str:
    from jepakit.report.probes import shortened

    return "–" if value is None else shortened(value)

"""A search over a recipe's values, from a recipe and a space to the best trial: ``jepakit tune``, for scripts and notebooks too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from jepakit.errors import UserError, shown
from jepakit.machine.hardware import settle
from jepakit.protocols import Engine
from jepakit.recipe import AnyRecipe, Overrides, recipe_id
from jepakit.recipe.dump import flow
from jepakit.storage.folder import make_folder, refuse_read_only
from jepakit.storage.lock import Lock
from jepakit.sweep.engines import AnyEngine, load_engine
from jepakit.sweep.plan import Plan, Planned, rehearse_runs
from jepakit.sweep.scheduler import jobs_folder
from jepakit.sweep.table import board_for
from jepakit.sweep.watched import Watched
from jepakit.tuning.candidates import Candidates, corners, load_candidates
from jepakit.tuning.journal import JOURNAL, import_optuna
from jepakit.tuning.measure import DEFAULT, check_metric
from jepakit.tuning.report import write_result
from jepakit.tuning.result import Tuned, read_result
from jepakit.tuning.space_file import read_space
from jepakit.tuning.study import PRUNERS, SAMPLERS, Pruner, Rules, Sampler, Study
from jepakit.tuning.tuner import Tuner, plan_trial

FOLDER = "tune"  #: beside the runs
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def tune(
    recipe: AnyRecipe,
    space: str | Path | Mapping[str, Any],
    *,
    trials: int = 20,
    overrides: Overrides = (),
    seeds: int | Sequence[int] = 1,
    metric: str = DEFAULT,
    sampler: Sampler = "tpe",
    pruner: Pruner = "asha",
    reduction: int = 2,
    first_rung: int | None = None,
    sampler_seed: int = 0,
    jobs: int | Literal["auto"] = "auto",
    out: str | Path = "runs",
    study: str | None = None,
    quiet: bool = False,
    engine: AnyEngine = None,
) -> Tuned:
    """Search a recipe's values for the greatest return, or go on with a search. Trial 0 is the recipe as it is.

    Finished runs are found again and unfinished ones resumed, so no run is repeated. Everything is checked before the first run starts.

    Args:
        recipe: A recipe without a sweep.
        space: What may vary: a file, or a mapping ``{"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}``.
        trials: How many trials the study shall have in the end, those of earlier calls included.
        overrides: Overrides of the recipe.
        seeds: Of each trial: how many, counted from the recipe's own, or which; they run side by side, and a trial is judged by their mean.
        metric: What is judged: a figure of ``summary.json``, or ``eval/return_greedy`` or ``eval/return_sampled``.
        sampler: How values are chosen: ``tpe`` learns from earlier trials, ``random`` does not.
        pruner: How trials are stopped early: ``asha``, ``hyperband`` or ``none``.
        reduction: One in this many trials goes on at each rung.
        first_rung: Env steps at which trials are first compared; None: the budget divided twice by ``reduction``.
        sampler_seed: Seed of the sampler.
        jobs: Trials at a time; ``auto``: one thread per core of this machine.
        out: Runs go to ``out/<name>/<id>``, the study to ``out/<name>/tune/<study>``.
        study: The study's name; None: that of the space's file.
        quiet: Show only warnings.
        engine: Where runs are started: the kind of an engine, or a mapping with ``kind`` and fields.

    Returns:
        The trials and the best of them.

    Raises:
        RecipeError: The recipe, the space or a value of it is wrong; nothing was started.
        UserError: A setting is wrong, the recipe itself cannot be run, or another process runs this study.
        KeyboardInterrupt: Ctrl-C or SIGTERM, once the running runs have saved; the same call goes on with them.
    """
    import_optuna()
    name = study or (re.sub(r"[^A-Za-z0-9_.-]|^[.-]", "_", Path(space).stem)[:100] if isinstance(space, str | Path) else "space")
    _check(name, sampler=(sampler, SAMPLERS), pruner=(pruner, PRUNERS))
    candidates = load_candidates(recipe, overrides, read_space(space), threads=1 if jobs == "auto" else None)
    rules = _rules(candidates, seeds, metric, sampler, sampler_seed, pruner, reduction, first_rung)
    for value, said, least in ((trials, "trials", 1), (1 if jobs == "auto" else jobs, "jobs", 1)):
        if value < least:
            raise UserError(f"{said} {value}: write a number of at least {least}")
    chosen = load_engine(engine, "engine")
    at_once = _at_once(candidates, rules, chosen) if jobs == "auto" else jobs
    return _search(candidates, rules, Path(out) / candidates.base.name, name, trials, at_once, chosen, quiet)


def _search(candidates: Candidates, rules: Rules, root: Path, name: str, trials: int, at_once: int, engine: Engine, quiet: bool) -> Tuned:
    folder = root / FOLDER / name
    refuse_read_only(folder)
    if not (folder / JOURNAL).exists():
        rehearse_runs(_first_looks(candidates, rules.seeds[0]))
    with _locked(folder):
        study = Study(folder, rules, candidates)
        runs: list[Watched] = []
        with jobs_folder(root, engine) as home, board_for(f"{candidates.base.name}, study {name}", runs, quiet=quiet) as board:
            tuner = Tuner(engine, study, name, root, Path(home), board, runs, trials, at_once)
            if tuner.waiting:
                engine.begin(Path(home).absolute(), board.note)
                try:
                    tuner.run(at_once * len(rules.seeds))
                finally:
                    engine.end()
        result = read_result(study, name, folder, root)
        write_result(result, candidates)
    if tuner.failure:
        raise UserError(f"the recipe itself, trial 0, has failed: {tuner.failure}")
    if (left := trials - len(result.ended)) > 0:
        raise KeyboardInterrupt(f"{left} of {trials} trials are left; the same call goes on with them")
    return result


def _check(name: str, **chosen: tuple[str, Sequence[str]]) -> None:
    if not _NAME.fullmatch(name):
        raise UserError(f"--study {shown(name)}: write a name of letters, digits, `_`, `.` and `-`")
    for what, (value, known) in chosen.items():
        if value not in known:
            raise UserError(f"--{what} {shown(value)}: write one of {', '.join(known)}")


def _rules(
    candidates: Candidates,
    seeds: int | Sequence[int],
    metric: str,
    sampler: str,
    sampler_seed: int,
    pruner: str,
    reduction: int,
    first_rung: int | None,
) -> Rules:
    base = candidates.base
    every = tuple(range(base.seed, base.seed + seeds) if isinstance(seeds, int) else seeds)
    if not every or len(set(every)) < len(every) or not all(0 <= seed < 2**32 for seed in every):
        raise UserError("--seeds: write how many seeds, at least 1, or different ones from 0 to 2**32 - 1")
    check_metric(metric, base)
    if reduction < 2:
        raise UserError(f"--reduction {reduction}: write at least 2: one in so many trials goes on")
    first = first_rung if first_rung is not None else max(1, round(base.total_steps / reduction**2))
    if not 0 < first < base.total_steps and pruner != "none":
        raise UserError(f"--first-rung {first}: write env steps below the recipe's {base.total_steps:,}, or --pruner none")
    settled, _ = settle(base)
    return Rules(
        recipe_id(settled), candidates.space.content, every, metric, sampler, sampler_seed, pruner, reduction, first, base.total_steps
    )


def _at_once(candidates: Candidates, rules: Rules, engine: Engine) -> int:
    """How many trials at a time suit this machine."""
    if engine.remote:
        raise UserError("--jobs: say how many trials at a time this engine shall run, such as --jobs 8; each runs all its seeds")
    runs = plan_trial(candidates, 0, [], rules.seeds, "")
    return max(1, Plan("", tuple(runs)).jobs() // len(rules.seeds))


def _first_looks(candidates: Candidates, seed: int) -> Iterator[Planned]:
    """A run of the recipe itself, and of each corner of the space: do their parts fit together?"""
    seen = set()
    for settings in [[], *corners(candidates.space)]:
        (run,) = plan_trial(candidates, 0, settings, [seed], "")
        if run.id not in seen:
            seen.add(run.id)
            label = ", ".join(f"{setting.path}={flow(setting.value.plain())}" for setting in settings) or "the recipe itself"
            yield Planned(label, run.seed, run.recipe, run.id)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the study's lock.

    Raises:
        UserError: Another process holds it, or the folder cannot be written.
    """
    make_folder(folder)
    lock = Lock(folder)
    try:
        yield
    finally:
        lock.release()

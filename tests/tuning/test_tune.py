"""A study judges, stops, resumes and reports its trials as a slow reference does; here its runs are made up."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

import jepakit
from jepakit.errors import UserError
from jepakit.machine.hardware import settle
from jepakit.protocols import Ended
from jepakit.recipe import load_recipe, recipe_id
from jepakit.storage.lock import Lock
from jepakit.tuning.journal import JOURNAL
from jepakit.tuning.measure import check_metric
from jepakit.tuning.result import Trial, Tuned
from tests.tuning.made_up import EVERY, FakeEngine, FakeRun, made_up

SPACE = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "jepa.target": [{"kind": "ema"}, {"kind": "frozen"}]}
Tune = Callable[..., Tuned]


@pytest.fixture
def tune(recipe: Path, tmp_path: Path) -> Tune:
    def call(engine: FakeEngine, space: dict[str, Any] = SPACE, **settings: Any) -> Tuned:
        given = {"trials": 10, "jobs": 1, "out": tmp_path / "runs", "quiet": True} | settings
        return jepakit.tune(recipe, space, engine=engine, **given)

    return call


def told(trials: tuple[Trial, ...]) -> list[tuple[Any, ...]]:
    """What must not depend on the machine."""
    return [(trial.number, trial.state, trial.value, dict(trial.params), dict(trial.curve)) for trial in trials]


def curve_of(trial: Trial, seeds: tuple[int, ...]) -> Callable[[int], float]:
    lr = trial.settings.get("optimizer.lr", 1e-3)
    return lambda steps: fmean(made_up({"optimizer": {"lr": lr}, "seed": seed}, steps) for seed in seeds)


def halved(trials: tuple[Trial, ...], rungs: list[int], reduction: int, seeds: tuple[int, ...]) -> list[tuple[str, dict[int, float]]]:
    """ASHA, slowly: at each rung the first four go on, then whoever is among the best 1/reduction of those that got there."""
    there: dict[int, list[float]] = {rung: [] for rung in rungs}
    found = []
    for trial in trials:
        value, seen, state = curve_of(trial, seeds), {}, "finished"
        for rung in rungs:
            at = math.ceil(rung / EVERY) * EVERY  # the first record at or after it
            seen[rung] = value(at)
            there[rung].append(value(at))
            survive = sorted(there[rung], reverse=True)[: max(1, len(there[rung]) // reduction)]
            if len(there[rung]) > 4 and value(at) < survive[-1]:
                state = "pruned"
                break
        found.append((state, seen))
    return found


@pytest.mark.parametrize(("reduction", "first", "seeds", "rungs"), [(2, 15, (0,), [15, 30, 60]), (3, None, (0, 1), [7, 21, 63])])
def test_trials_are_stopped_as_a_slow_successive_halving_would(
    tune: Tune, reduction: int, first: int | None, seeds: tuple[int, ...], rungs: list[int]
) -> None:
    tuned = tune(FakeEngine(), reduction=reduction, first_rung=first, seeds=len(seeds))
    assert tuned.rules.rungs == rungs
    expected = halved(tuned.trials, rungs, reduction, seeds)
    assert [trial.state for trial in tuned.trials] == [state for state, _ in expected]
    assert {"finished", "pruned"} == {trial.state for trial in tuned.trials}, "curves that show something"
    for trial, (_, seen) in zip(tuned.trials, expected, strict=True):
        assert dict(trial.curve) == pytest.approx(seen)


def test_a_trial_is_judged_by_the_mean_of_its_seeds_and_the_recipe_is_trial_0(tune: Tune) -> None:
    tuned = tune(FakeEngine(), seeds=[3, 5], pruner="none", sampler="random")
    for trial in tuned.trials:
        assert trial.value == pytest.approx(curve_of(trial, (3, 5))(64))
        assert trial.values == pytest.approx([curve_of(trial, (seed,))(64) for seed in (3, 5)])
    assert tuned.default is tuned.trials[0] or tuned.default == tuned.trials[0]
    assert (tuned.trials[0].settings, tuned.trials[0].params) == ({}, {"optimizer.lr": 1e-3, "jepa.target": "ema"})
    assert tuned.best is not None
    assert tuned.best.value == max(trial.value or 0 for trial in tuned.trials)


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_decisions_depend_on_env_steps_not_on_how_fast_the_machine_is(tune: Tune, tmp_path: Path, sampler: str, pruner: str) -> None:
    slow = tune(FakeEngine(records=1), sampler=sampler, pruner=pruner)
    fast = tune(FakeEngine(records=100), sampler=sampler, pruner=pruner, out=tmp_path / "fast")
    assert told(slow.trials) == told(fast.trials)
    assert sum(trial.env_steps for trial in fast.trials) > sum(trial.env_steps for trial in slow.trials), (
        "a fast run is over before it is stopped"
    )


@pytest.mark.parametrize("dies_at", [3, 17, 40, 61])
def test_a_killed_study_goes_on_as_if_it_had_not_been_and_repeats_no_run(tune: Tune, tmp_path: Path, dies_at: int) -> None:
    whole = tune(FakeEngine(), out=tmp_path / "whole")
    first, second = FakeEngine(dies_at=dies_at), FakeEngine()
    with pytest.raises(RuntimeError, match="killed"):
        tune(first)
    with (tmp_path / "runs" / "tuned" / "tune" / "space" / JOURNAL).open("a") as journal:
        journal.write('{"op_code": 4, "half a li')
    tuned = tune(second)
    assert told(tuned.trials) == told(whole.trials)
    runs = [run.name for trial in tuned.trials for run in trial.runs]
    assert sorted(first.started + second.started) == sorted(set(runs))
    assert len(second.resumed) <= 1
    third = FakeEngine()
    assert told(tune(third).trials) == told(whole.trials)
    assert third.polls == 0, "nothing is left"


def test_a_stopped_trial_stays_stopped_if_the_process_is_killed_before_its_run_has_saved(tune: Tune, tmp_path: Path) -> None:
    whole = tune(FakeEngine(), out=tmp_path / "whole")
    pruned = next(trial.number for trial in whole.trials if trial.state == "pruned")
    polls = FakeEngine()
    tune(polls, trials=pruned + 1, out=tmp_path / "count")
    with pytest.raises(RuntimeError, match="killed"):
        tune(FakeEngine(dies_at=polls.polls))  # the poll at which the run saves
    again = FakeEngine()
    tuned = tune(again)
    assert told(tuned.trials) == told(whole.trials)
    assert tuned.trials[pruned].runs[0].name not in again.started + again.resumed


def test_more_trials_are_added_to_a_study_and_several_run_at_a_time(tune: Tune) -> None:
    few = tune(FakeEngine(), trials=4, pruner="none")
    more = tune(FakeEngine(), trials=9, jobs=3, pruner="none")
    assert told(more.trials)[:4] == told(few.trials)
    assert [trial.state for trial in more.trials] == ["finished"] * 9
    assert len(tune(FakeEngine(), trials=2, pruner="none").trials) == 9


def test_an_engine_on_other_machines_finds_its_jobs_beside_the_runs(tune: Tune, tmp_path: Path) -> None:
    tuned = tune(FakeEngine(remote=True), trials=5, jobs=2)
    assert all((tmp_path / "runs" / "tuned" / "jobs" / run.name / "recipe.yaml").is_file() for trial in tuned.trials for run in trial.runs)
    assert "unfinished" not in {trial.state for trial in tuned.trials}


def test_runs_that_have_finished_are_found_by_id(tune: Tune) -> None:
    one = tune(FakeEngine(), pruner="none", sampler="random")
    other = FakeEngine()
    tuned = tune(other, pruner="none", sampler="random", study="other")
    assert (other.started, told(tuned.trials)) == ([], told(one.trials))


def test_equal_trials_share_a_run_even_at_the_same_time(tune: Tune) -> None:
    engine = FakeEngine()
    tuned = tune(engine, {"optimizer.lr": [1e-3, 1e-2]}, jobs=4, pruner="none", sampler="random", trials=8)
    assert [trial.state for trial in tuned.trials] == ["finished"] * 8
    assert len(engine.started) == len(set(engine.started)) == 2


def test_a_failed_trial_stops_no_other_but_a_failed_recipe_does(tune: Tune, tmp_path: Path) -> None:
    def at_half_the_rates(recipe: dict[str, Any], steps: int) -> float | None:
        return None if recipe["optimizer"]["lr"] > 3e-3 else made_up(recipe, steps)

    tuned = tune(FakeEngine(at_half_the_rates), pruner="none", sampler="random")
    for trial in tuned.trials:
        assert trial.state == ("failed" if trial.settings.get("optimizer.lr", 0) > 3e-3 else "finished")
        assert (trial.why == "its runs have no return_last_100") == (trial.state == "failed")
    assert {trial.state for trial in tuned.trials} == {"failed", "finished"}
    with pytest.raises(UserError, match="the recipe itself, trial 0, has failed"):
        tune(FakeEngine(lambda *_: None), out=tmp_path / "never")
    for file in (tmp_path / "never").glob("tuned/*/summary.json"):
        file.unlink()
    assert tune(FakeEngine(), out=tmp_path / "never").best, "the same call tries it again"


@pytest.mark.parametrize("why", ["killed", "disk full"])
def test_an_accident_is_no_verdict_on_a_trials_values(tune: Tune, why: str) -> None:
    """The same call goes on with a trial whose process was killed, and with all trials after the disk was full."""
    accidents = [True]

    class Accidental(FakeRun):
        def poll(self) -> Ended | None:
            folder = self.job.folder
            if "lr: 0.001\n" in (folder / "recipe.yaml").read_text() or not accidents:  # the recipe as it is
                return super().poll()
            if why == "killed":
                accidents.clear()
                return Ended(-9)
            (folder / "traceback.txt").write_text("Traceback\n  ...\njepakit.files.writing.DiskFull: no room left\n")
            (folder / "summary.json").write_text('{"status": "failed", "env_steps": 8}')
            return Ended(1)

    with pytest.raises(KeyboardInterrupt, match="trials are left"):
        tune(FakeEngine(made_of=Accidental), pruner="none", sampler="random", trials=4)
    accidents.clear()
    tuned = tune(FakeEngine(), pruner="none", sampler="random", trials=4)
    assert [trial.state for trial in tuned.trials] == ["finished"] * 4


def test_a_trial_that_another_host_runs_holds_up_no_other(tune: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Any] = {"pruner": "none", "sampler": "random", "trials": 4}
    alone = tune(FakeEngine(), **settings)
    far = tmp_path / "far" / "tuned" / Path(alone.trials[1].runs[0]).name
    far.mkdir(parents=True)
    (far / "lock").write_text('{"pid": 12, "host": "elsewhere.example"}')  # this host cannot know whether it is alive
    with pytest.raises(KeyboardInterrupt, match="1 of 4 trials are left"):
        tune(FakeEngine(), out=tmp_path / "far", **settings | {"quiet": False})
    assert f"trial 1 is unfinished: {far} is held by process 12 on elsewhere.example; if it has ended" in capsys.readouterr().err
    shutil.rmtree(far)
    assert told(tune(FakeEngine(), out=tmp_path / "far", **settings).trials) == told(alone.trials)


def test_values_that_fit_alone_and_not_together_fail_their_trial(tune: Tune) -> None:
    space = {"jepa.y": ["stack", "newest", "same"], "jepa.horizon": {"low": 1, "high": 2}}
    tuned = tune(FakeEngine(), space, sampler="random", trials=12)
    for trial in tuned.trials:
        apart = trial.settings == {"jepa.y": "same", "jepa.horizon": 2}
        assert trial.state == ("failed" if apart else "finished")
        assert ("`same` looks no step ahead" in trial.why) == apart
    assert {trial.state for trial in tuned.trials} == {"failed", "finished"}


def test_files_say_what_came_out_and_best_yaml_is_the_best_trial(tune: Tune, recipe: Path, drawn: None) -> None:
    tuned = tune(FakeEngine(), trials=16, pruner="none")
    best = tuned.best
    assert best is not None
    assert best.number > 0
    content = json.loads((tuned.path / "tune.json").read_text())
    assert (content["best"], len(content["trials"])) == (best.number, 16)
    assert content["trials"][best.number]["value"] == best.value
    assert set(tuned.importance) == {"optimizer.lr", "jepa.target"}
    assert tuned.importance["optimizer.lr"] > tuned.importance["jepa.target"], "the return depends on the rate alone"
    for name in ("history.png", "importance.png"):
        assert (tuned.path / name).read_bytes().startswith(b"\x89PNG")
    written = (tuned.path / "best.yaml").read_text()
    assert yaml.safe_load(written)["extends"].endswith(recipe.name)
    settled, _ = settle(load_recipe(tuned.path / "best.yaml"))
    assert (settled.name, recipe_id(settled)) == ("tuned", best.runs[0].name)


def test_best_yaml_holds_overrides_and_entries_of_lists(tune: Tune, recipe: Path) -> None:
    space = {"regularizers.0.weight": {"low": 0.1, "high": 0.2}, "optimizer.lr": SPACE["optimizer.lr"]}
    overrides = ["regularizers=[{kind: vicreg}]", "encoder.dim=8"]
    tuned = tune(FakeEngine(), space, overrides=overrides, pruner="none")
    assert tuned.best is not None
    settled, _ = settle(load_recipe(tuned.path / "best.yaml"))
    assert (settled.encoder.model_dump()["dim"], recipe_id(settled)) == (8, tuned.best.runs[0].name)
    tuned = tune(FakeEngine(), overrides={"encoder.dim": 8}, pruner="none", study="other")
    assert "extends" in (tuned.path / "best.yaml").read_text()
    assert tuned.best is not None
    assert recipe_id(settle(load_recipe(tuned.path / "best.yaml"))[0]) == tuned.best.runs[0].name


def test_a_study_of_other_rules_or_another_processs_study_is_refused(tune: Tune, tmp_path: Path) -> None:
    tuned = tune(FakeEngine(), trials=2)
    for settings, says in (
        ({"seeds": 2}, "`seeds` is"),
        ({"sampler": "random"}, "`sampler` is"),
        ({"overrides": ["encoder.dim=8"]}, "another recipe"),
        ({"space": {"optimizer.lr": [1e-3, 1e-2]}}, "another space"),
    ):
        with pytest.raises(UserError, match=f"holds another study: .*{says}"):
            tune(FakeEngine(), **settings)
    lock = Lock(tuned.path)
    with pytest.raises(UserError, match=f"process {os.getpid()} .* is writing {tuned.path}"):
        tune(FakeEngine())
    lock.release()
    assert len(tune(FakeEngine(), trials=3).trials) == 3


@pytest.mark.parametrize(
    "journal", ["[1]\n", '{"op_code": 0}\n', "\x00\n\n", '{"op_code": 99, "worker_id": 1}\n', '{"op_code": {}, "x": []}\n']
)
def test_a_journal_that_is_none_is_a_users_mistake(tune: Tune, tmp_path: Path, journal: str) -> None:
    path = tmp_path / "runs" / "tuned" / "tune" / "space"
    path.mkdir(parents=True)
    (path / JOURNAL).write_text(journal)
    with pytest.raises(UserError, match=r"is no journal of a study|holds another study"):
        tune(FakeEngine())


def test_returns_are_no_metric_where_no_env_is_stepped() -> None:
    source = {"source": {"kind": "recording", "folder": "data"}, "algorithm": {"kind": "none"}}
    recipe = load_recipe("cartpole_pixels", source)
    check_metric("embedding_rank", recipe)
    with pytest.raises(UserError, match="has no returns"):
        check_metric("return_last_100", recipe)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"metric": "return"}, "no such figure; did you mean `return_auc`"),
        ({"metric": "eval/return_greedy"}, "add --set eval_every=64"),
        ({"metric": "eval/return_greedy", "overrides": ["eval_every=65"]}, "add --set eval_every=64"),
        ({"pruner": "halving"}, "write one of asha, hyperband, none"),
        ({"sampler": "grid"}, "write one of tpe, random"),
        ({"reduction": 1}, "write at least 2"),
        ({"first_rung": 64}, "below the recipe's 64"),
        ({"trials": 0}, "at least 1"),
        ({"seeds": 0}, "at least 1"),
        ({"seeds": [1, 1]}, "different ones"),
        ({"study": "../out"}, "letters, digits"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(tune: Tune, tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        tune(FakeEngine(), **settings)
    assert not (tmp_path / "runs").exists()
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)


def test_the_last_evaluation_can_be_the_metric(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluated(recipe: dict[str, Any], steps: int) -> float:
        return made_up(recipe, steps)

    class Evaluating(FakeEngine):
        def start(self, jobs: Any) -> Any:
            for job in jobs:
                going = super().start([job])
                with (job.folder / "metrics.jsonl").open("a") as file:
                    for value in (1.0, 2.5):
                        file.write(json.dumps({"phase": "eval", "env_steps": 4, "eval/return_greedy": value}) + "\n")
                yield from going

    tuned = tune(Evaluating(evaluated), overrides=["eval_every=32"], metric="eval/return_greedy", trials=2, pruner="none")
    assert [trial.value for trial in tuned.trials] == [2.5, 2.5]

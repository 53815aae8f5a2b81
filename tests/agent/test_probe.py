"""`jepakit probe`: what a run's embedding tells of the state, which the agent itself never sees."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDictBase

from jepakit import UserError, probe, resume, run
from jepakit.agent.recording import episodes
from jepakit.cli.probe import command
from jepakit.components.envs.batched import BatchedEnv
from jepakit.machine.generators import generators
from jepakit.report.probes import read_probe
from jepakit.training.learner import Learner
from jepakit.training.monitoring import evaluation, periodic_probes
from jepakit.training.policy import Policy

SMALL = ["total_steps=200", "env.num_envs=2", "algorithm.rollout_steps=50", "algorithm.epochs=1", "threads=1"]
VARIABLES = ["position", "velocity", "angle", "angular velocity"]


@pytest.fixture(autouse=True, scope="module")
def short_fits() -> Iterator[None]:
    """Whether the MLP is well trained does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jepakit.diagnostics.probes.regression.MOST_UPDATES", 100)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run("cartpole_pixels", overrides=SMALL, out=tmp_path_factory.mktemp("runs") / "run", quiet=True).path


@pytest.fixture(scope="module")
def found(trained: Path) -> dict[str, Any]:
    return probe(trained, 12)


def metrics(path: Path) -> Iterator[dict[str, Any]]:
    for line in (path / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        yield {name: value for name, value in record.items() if name != "wall_s" and not name.startswith("time/")}


def test_a_probe_has_the_documented_form(found: dict[str, Any]) -> None:
    assert {name: found[name] for name in ("env_steps", "best", "seed", "policy")} == {
        "env_steps": 200,
        "best": False,
        "seed": 1_000_003,
        "policy": "sampled",
    }
    assert found["episodes"] == {"fit": 8, "held_out": 4}
    assert found["observations"]["fit"] > 80
    for kind in ("linear", "mlp"):
        assert list(found["r2"][kind]) == [*VARIABLES, "mean"]
    assert found["r2"]["linear"]["position"] > 0.5  # even a random encoder tells where the cart is
    ahead = found["ahead"]
    assert ahead["k"] == [1, 2, 4, 8, 16]
    for source in ("predicted", "encoded", "copied"):
        assert list(ahead[source]) == [*VARIABLES, "mean"]
        assert all(len(values) == 5 for values in ahead[source].values())
    assert ahead["encoded"]["position"][0] > ahead["copied"]["position"][3]


def test_a_probe_repeats_itself_and_disturbs_no_generator(trained: Path, found: dict[str, Any]) -> None:
    before = generators()
    assert probe(trained, 12) == found
    after = generators()
    assert torch.equal(before.pop("torch"), after.pop("torch"))
    assert before == after
    assert probe(trained, 12, seed=7) != found


def test_the_state_reaches_neither_policy_nor_learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that they are given holds what it holds without probes, and a state of nonsense changes no training number."""
    keys: list[set[Any]] = []
    act, learn = Policy.forward, Learner.learn

    def looking(self: Policy, tensordict: TensorDictBase) -> TensorDictBase:
        keys.append(set(tensordict.keys(True, True)))
        return act(self, tensordict)

    def learning(self: Learner, batch: TensorDictBase, progress: float) -> Any:
        keys.append(set(batch.keys(True, True)))
        return learn(self, batch, progress)

    monkeypatch.setattr(Policy, "forward", looking)
    monkeypatch.setattr(Learner, "learn", learning)
    monkeypatch.setattr("jepakit.training.monitoring.periodic_probes.EPISODES", 4)

    def train(name: str, *more: str) -> list[dict[str, Any]]:
        return list(metrics(run("cartpole_pixels", overrides=[*SMALL, *more], out=tmp_path / name, quiet=True).path))

    without = train("without")
    seen = set().union(*keys)
    keys.clear()
    probed = train("probed", "probe_every=100")
    assert set().union(*keys) == seen
    assert not {key for key in seen if "state" in str(key) and key != "state_value"}

    poison = iter(range(10**9))
    monkeypatch.setattr(BatchedEnv, "true_state", lambda self, _=None: [{"nonsense": float(next(poison) ** 2 % 97)} for _ in range(2)])
    poisoned = train("poisoned", "probe_every=100")
    assert [record["env_steps"] for record in probed if record["phase"] == "probe"] == [100, 200]
    assert [each for each in probed if each["phase"] != "probe"] == without
    assert [each for each in poisoned if each["phase"] != "probe"] == without
    assert {"probe/linear/angular_velocity", "probe/mlp/position", "probe/linear/mean"} < set(probed[-2])
    assert set(probed[-2]) - {"phase", "env_steps"} == {name for name in probed[-2] if name.startswith("probe/")}
    assert "probe/linear/nonsense" in poisoned[-2]


def test_a_resumed_run_probes_as_if_it_had_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepakit.training.monitoring.periodic_probes.EPISODES", 4)
    change = [*SMALL, "probe_every=100", "checkpoint_every=100"]
    whole = list(metrics(run("cartpole_pixels", overrides=change, out=tmp_path / "whole", quiet=True).path))
    path = run("cartpole_pixels", overrides=change, out=tmp_path / "cut", quiet=True).path
    shutil.rmtree(path / "checkpoints" / "000000000200")
    (path / "summary.json").unlink()
    resume(path, quiet=True)
    assert list(metrics(path)) == whole
    assert [record["env_steps"] for record in whole if record["phase"] == "probe"] == [100, 200]


def test_a_runs_probes_see_other_episodes_than_its_evaluations() -> None:
    assert len({periodic_probes.SEED_OFFSET, evaluation.PERIODIC_OFFSET, evaluation.SEED_OFFSET, episodes.SEED_OFFSET}) == 4


def test_a_failing_probe_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepakit.training.monitoring.periodic_probes.probed", lambda *_: (_ for _ in ()).throw(ValueError("no state")))
    result = run("cartpole_pixels", overrides=[*SMALL, "probe_every=50"], out=tmp_path / "run", quiet=True)
    assert result.summary["status"] == "finished"
    assert (result.path / "events.jsonl").read_text().count("the state probes have failed") == 1


def test_probing_an_env_without_a_state_is_an_error_before_the_run(diary: None, tmp_path: Path) -> None:
    change = ["env.id=Diary-v0", "env.size=[40, 60]", "probe_every=100"]
    with pytest.raises(UserError, match=r"`Diary` is not known: [^^]*probe_every=100[^^]*\^\n.*leave `probe_every` out"):
        run("cartpole_pixels", overrides=[*SMALL, *change], out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_predictor_has_no_roll_outs(tmp_path: Path) -> None:
    path = run("cartpole_pixels", overrides=[*SMALL, "jepa=null"], out=tmp_path / "run", quiet=True).path
    assert probe(path, 4)["ahead"] is None


@pytest.mark.parametrize("change", ["jepa.projector={kind: mlp, hidden: 16, dim: 24}", "jepa.prediction_head={kind: linear, dim: 64}"])
def test_behind_a_projector_projections_are_read(tmp_path: Path, change: str) -> None:
    path = run("cartpole_pixels", overrides=[*SMALL, change], out=tmp_path / "run", quiet=True).path
    ahead = probe(path, 6)["ahead"]
    assert ahead["space"] == "projection"
    assert ahead["encoded"]["position"][0] > 0


def test_a_function_of_the_users_own_reads_the_state(trained: Path) -> None:
    found = probe(
        trained, 6, state=lambda pole: {"tip": pole.state[0] + pole.length * pole.state[2]}, overrides=["env.max_episode_steps=9"]
    )
    assert list(found["r2"]["linear"]) == ["tip", "mean"]
    assert found["observations"]["fit"] <= 4 * 10
    assert found["overrides"] == ["env.max_episode_steps=9"]
    with pytest.raises(UserError, match="2 episodes are too few"):
        probe(trained, 2)


def test_the_command_writes_probe_json_and_prints_a_table_of_80_columns(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "mine.py").write_text("def tip(pole): return {'tip': pole.state[0], 'const': 1.0}\n")
    command([trained], episodes=6, state=f"{tmp_path / 'mine.py'}:tip")
    out = capsys.readouterr().out
    written = read_probe(trained)
    assert written
    assert written["state"].endswith("mine.py:tip")
    assert f"{written['r2']['linear']['tip']:.2f}" in out
    assert "1 of 2 variables did not change" in out
    assert all(len(line) <= 80 for line in out.splitlines() if "  " in line)

    command([trained], episodes=6, best=True)
    assert read_probe(trained) == written  # the newest weights'
    assert (read_probe(trained, best=True) or {})["best"]

    command([trained.parent], missing=True, record=tmp_path / "record")  # played no more
    record = json.loads((tmp_path / "record" / "probes.json").read_text())
    assert [each["probe"] for each in record["runs"]] == [written]
    assert "## What s_x tells: linear probe" in (tmp_path / "record" / "probes.md").read_text()
    for wrong, told in [("mine.py", "write FILE.py:FUNCTION"), ("nix.py:tip", "cannot read nix.py"), ("no_such:tip", "no_such.py:tip")]:
        with pytest.raises(UserError, match=told):
            command([trained], episodes=6, state=wrong)
    with pytest.raises(UserError, match="has no function `tap`; did you mean `tip`"):
        command([trained], episodes=6, state=f"{tmp_path / 'mine.py'}:tap")

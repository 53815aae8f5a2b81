"""Periodic evaluation: its records, no trace in the training, resumed runs, the best checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.resume import differences, same, timeless
from jepakit import resume, run
from jepakit.agent.evaluate import evaluate
from jepakit.diagnostics.probes import episodes
from jepakit.errors import UserError
from jepakit.recipe import load_recipe, recipe_id
from jepakit.storage.checkpoint import load_tensors
from jepakit.storage.manifest import best_checkpoint, checkpoints, read_manifest
from jepakit.training.loop import Loop
from jepakit.training.monitoring import evaluation

SMALL: dict[str, Any] = {
    "name": "small",
    "total_steps": 400,
    "env": {"kind": "gym", "id": "CartPole-v1", "num_envs": 2, "size": [16, 24], "max_episode_steps": 30},
    "encoder": {"kind": "vit", "dim": 8, "depth": 1, "heads": 2, "patch": 8, "scaling": "normalized"},
    "augmentations": [{"kind": "random_shift", "pad": 1}],
    "algorithm": {"kind": "ppo", "rollout_steps": 20, "epochs": 2, "minibatch_size": 20},
    "checkpoint_every": 120,
    "eval_every": 100,
    "eval_episodes": 3,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
}
DQN: dict[str, Any] = {
    "algorithm": {
        "kind": "dqn",
        "rollout_steps": 10,
        "minibatch_size": 8,
        "learning_starts": 100,
        "updates_per_step": 0.1,
        "noisy_std": 0.5,
        "epsilon_end": 0.5,
    },
    "replay": {"capacity": 150, "sampler": "prioritized"},
    "distractions": [{"kind": "noise"}],
}
RECIPES = {"ppo": SMALL, "dqn": SMALL | DQN}


def evaluations(folder: Path) -> list[dict[str, Any]]:
    return [record for record in timeless(folder) if record["phase"] == "eval"]


@pytest.mark.parametrize("name", ["ppo", pytest.param("dqn", marks=pytest.mark.slow)])
def test_periodic_evaluation_changes_no_training_number(name: str, tmp_path: Path) -> None:
    off = run({**RECIPES[name], "eval_every": None}, out=tmp_path / "off", quiet=True).path
    on = run(RECIPES[name], out=tmp_path / "on", quiet=True).path
    assert [record for record in timeless(on) if record["phase"] != "eval"] == timeless(off)
    ends = [checkpoints(folder / "checkpoints")[-1] for folder in (off, on)]
    for file in ("weights", "optimizer"):
        tensors, theirs = (load_tensors(end, file) for end in ends)
        assert all(same(tensor, theirs[key]) for key, tensor in tensors.items())
    states = [json.loads((end / "state.json").read_text()) for end in ends]
    assert states[0]["generators"] == states[1]["generators"]
    assert len({recipe_id(load_recipe({**RECIPES[name], "eval_every": every})) for every in (None, 100, 7)}) == 1


@pytest.mark.parametrize("name", [pytest.param("ppo", marks=pytest.mark.slow), "dqn"])
def test_a_resumed_run_records_the_same_evaluations(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(RECIPES[name], out=tmp_path / "whole", quiet=True).path
    write = Loop._record_batch

    def killed(self: Loop, *args: Any) -> None:
        write(self, *args)
        if self.history.env_steps >= 320:
            raise KeyError

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_record_batch", killed)
        with pytest.raises(KeyError):
            run(RECIPES[name], out=tmp_path / "cut", quiet=True)
    resume(tmp_path / "cut", quiet=True)
    assert differences(whole, tmp_path / "cut") == []
    assert [record["env_steps"] for record in evaluations(whole)] == {"ppo": [120, 200, 320, 400], "dqn": [100, 200, 300, 400]}[name]


def test_a_record_holds_what_eval_would_find_in_these_episodes(tmp_path: Path) -> None:
    folder = run({**SMALL, "total_steps": 120, "eval_episodes": 5}, out=tmp_path / "run", quiet=True).path
    (record,) = evaluations(folder)
    found = evaluate(folder, episodes=5, seed=evaluation.PERIODIC_OFFSET)
    for mode in evaluation.MODES:
        assert record[f"eval/return_{mode}"] == found[mode]["mean"]
        assert record[f"eval/length_{mode}"] == sum(found[mode]["lengths"]) / 5
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["time/eval"] > 0 for line in lines if line["phase"] == "eval"] == [True]
    assert lines[-1]["phase"] == "train"  # of the same batch


def test_the_best_evaluated_weights_are_kept_and_eval_uses_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    returns = iter([5.0, 9.0, 9.0, 2.0])

    def measured(self: evaluation.Evaluation) -> dict[str, float]:
        best = next(returns)
        return {"eval/return_greedy": best, "eval/return_sampled": best - 1, "time/eval": 0.0}

    monkeypatch.setattr(evaluation.Evaluation, "measure", measured)
    folder = run({**SMALL, "keep_checkpoints": 1, "checkpoint_every": 1000}, out=tmp_path / "run", quiet=True).path
    assert [int(path.name) for path in checkpoints(folder / "checkpoints")] == [320, 400]  # of two alike the later
    best = best_checkpoint(folder / "checkpoints")
    assert best is not None
    assert (int(best.name), read_manifest(best)["eval_return"]) == (320, 9.0)
    assert read_manifest(checkpoints(folder / "checkpoints")[-1])["eval_return"] == 2.0
    monkeypatch.undo()
    assert evaluate(folder, episodes=1, best=True)["env_steps"] == 320


def test_without_it_the_best_training_return_counts(tmp_path: Path) -> None:
    folder = run({**SMALL, "eval_every": None, "keep_checkpoints": 9}, out=tmp_path / "run", quiet=True).path
    held = {path: read_manifest(path) for path in checkpoints(folder / "checkpoints")}
    assert {manifest["eval_return"] for manifest in held.values()} == {None}
    top = max(manifest["return_last_100"] for manifest in held.values() if manifest["return_last_100"] is not None)
    best = best_checkpoint(folder / "checkpoints")
    assert best is not None
    assert held[best]["return_last_100"] == top


def test_an_evaluation_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run({**SMALL, "total_steps": 40, "eval_every": None}, out=tmp_path / "run", quiet=True).path
    monkeypatch.setattr(episodes, "LONGEST", 5)
    with pytest.raises(UserError, match=r"an episode has not ended after 5 env steps: `env\.max_episode_steps` ends episodes"):
        evaluate(ended, episodes=2)


def test_an_evaluation_that_fails_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodes, "LONGEST", 5)
    ended = run(SMALL, out=tmp_path / "run", quiet=True)
    assert ended.summary["status"] == "finished"
    assert not evaluations(ended.path)
    events = [json.loads(line) for line in (ended.path / "events.jsonl").read_text().splitlines()]
    told = [event["text"] for event in events if "evaluation has failed" in event.get("text", "")]
    assert told == [
        "the evaluation has failed, and there are no more of them; the run goes on: "
        "an episode has not ended after 5 env steps: `env.max_episode_steps` ends episodes"
    ]

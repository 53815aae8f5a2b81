"""Runs that learn from recorded data, and runs that begin with what these have learned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchrl.data import Bounded, Categorical, TensorSpec

from jepakit import registry
from jepakit.agent.export.files import export
from jepakit.agent.recording.episodes import record_episodes
from jepakit.components.algorithms.none import NoRL
from jepakit.components.collectors.direct import Direct
from jepakit.components.envs.none import NoEnv
from jepakit.components.shared.recordings import read_recording
from jepakit.components.sources.recording import Recorded as RecordedSource
from jepakit.errors import UserError
from jepakit.files.checkpoints import checkpoints, read_manifest, weights_file
from jepakit.files.data import digest_of_data
from jepakit.files.writing import digest
from jepakit.protocols import ACTION, MASK, PIXELS, REWARD, FrameShape, Recording
from jepakit.recipe import load_recipe, recipe_id
from jepakit.registry import register
from jepakit.training.experience.recorded import Recorded
from jepakit.training.run import resume, run

SHAPE = FrameShape(3, 1, 8, 12)
ENV = {"kind": "gym", "id": "Diary-v0", "num_envs": 2, "size": None, "max_episode_steps": 4}
BASE: dict[str, Any] = {
    "env": ENV,
    "encoder": {"kind": "impala", "dim": 8, "scaling": "normalized"},
    "regularizers": [{"kind": "vicreg", "weight": 1.0}],
    "algorithm": {"kind": "none", "rollout_steps": 32, "minibatch_size": 16},
    "optimizer": {"warmup_updates": 3},
    "total_steps": 256,
    "checkpoint_every": 128,
    "diagnostics_every": 64,
    "threads": 1,
    "precision": "fp32",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, diary: None) -> Path:
    folder = tmp_path_factory.mktemp("data") / "random"
    record_episodes(BASE, folder, 80)
    return folder


def pretrain(data: Path) -> dict[str, Any]:
    return {**BASE, "source": {"kind": "recording", "folder": str(data)}}


@pytest.mark.parametrize("horizon", [1, 3])
def test_windows_are_those_of_the_episodes(data: Path, horizon: int) -> None:
    source = RecordedSource(SHAPE, Categorical(3), folder=str(data))
    algorithm = NoRL(Categorical(3), rollout_steps=16, minibatch_size=None, epochs=2)
    experience = Recorded(source, algorithm, horizon, SHAPE, Categorical(3), num_envs=4)
    recording, _ = read_recording(data)
    torch.manual_seed(0)
    batch = next(experience.batches())
    assert batch[PIXELS].shape == (4, 16, *SHAPE)
    experience.extend(batch)
    seen = []
    for window, steps in experience.minibatches():
        for row, step in zip(window, steps["index"].tolist(), strict=True):
            seen.append(step)
            for ahead in range(horizon + 1):
                in_episode = not recording.done[step : step + ahead - 1].any() if ahead > 1 else True
                assert bool(row[MASK][ahead]) == in_episode
                if not in_episode:
                    continue
                frames = []
                for back in (2, 1, 0):  # an episode's first frame is repeated
                    age = int(recording.age[step]) + ahead
                    frames.append(recording.frames[int(recording.position[step]) + ahead - min(back, age)])
                assert torch.equal(row[PIXELS][ahead], torch.stack(frames))
                if ahead == 0 or not recording.done[step : step + ahead].any():
                    assert row[ACTION][ahead] == recording.action[step + ahead]
                    assert row[REWARD][ahead] == recording.reward[step + ahead]
    assert sorted(seen) == sorted(batch["index"].flatten().tolist() * 2), "each step of the batch, in each epoch"
    assert len(set(seen)) > 40


def test_a_run_learns_from_recorded_data_and_resumes_bit_for_bit(data: Path, tmp_path: Path) -> None:
    whole = run(pretrain(data), out=tmp_path / "whole", quiet=True)
    records = [json.loads(line) for line in (whole.path / "metrics.jsonl").read_text().splitlines()]
    train = [record for record in records if record["phase"] == "train"]
    assert [record["env_steps"] for record in train] == [64, 128, 192, 256]
    assert train[-1]["updates"] == 16
    assert train[-1]["embedding/rank"] > 1
    assert {"prediction/distance", "gradient_norm/encoder", "drift/since_last"} <= {name for record in records for name in record}
    assert whole.summary["episodes"] == 0
    assert json.loads((whole.path / "provenance.json").read_text())["data"] == {"source.folder": digest_of_data(data)}
    half = tmp_path / "half"
    shutil.copytree(whole.path, half)
    shutil.rmtree(half / "checkpoints" / "000000000256")
    (half / "summary.json").unlink()
    resume(half, quiet=True)
    last = Path("checkpoints/000000000256/weights.safetensors")
    assert (half / last).read_bytes() == (whole.path / last).read_bytes()
    again = [json.loads(line) for line in (half / "metrics.jsonl").read_text().splitlines()]
    timeless = [
        [{name: value for name, value in row.items() if "time/" not in name and name != "wall_s"} for row in each]
        for each in (records, again)
    ]
    assert timeless[0] == timeless[1]


def test_an_rl_run_begins_with_the_pretrained_encoder(data: Path, tmp_path: Path) -> None:
    pretrained = run(pretrain(data), out=tmp_path / "pretrained", quiet=True).path
    ppo = {"algorithm": {"kind": "ppo", "rollout_steps": 16, "epochs": 1, "minibatch_size": 16}, "total_steps": 32}
    begun = {"encoder.checkpoint": str(pretrained), "encoder.frozen": True}
    tuned = run({**BASE, **ppo}, overrides=begun, out=tmp_path / "rl", quiet=True).path
    encoders = [
        {name: tensor for name, tensor in load_file(weights_file(path)).items() if name.startswith("encoder.")}
        for path in (pretrained, tuned)
    ]
    assert all(torch.equal(encoders[0][name], encoders[1][name]) for name in encoders[0])
    assert json.loads((tuned / "provenance.json").read_text())["weights_sha256"] == [digest(weights_file(pretrained))]


def test_a_frozen_target_with_a_checkpoint_is_one_fixed_function(data: Path, tmp_path: Path) -> None:
    pretrained = run(pretrain(data), out=tmp_path / "pretrained", quiet=True).path
    begun = {"jepa.target": {"kind": "frozen", "checkpoint": str(pretrained)}}
    predicting = run(BASE, overrides=begun, out=tmp_path / "run", quiet=True).path
    there, here = load_file(weights_file(pretrained)), load_file(weights_file(predicting))
    names = [name.removeprefix("encoder.") for name in there if name.startswith("encoder.")]
    assert any("square_sum" in name for name in names)
    assert all(torch.equal(there[f"encoder.{name}"], here[f"target.encoder.{name}"]) for name in names)
    assert here["encoder.scale.count"] > 0


def test_random_play_in_the_env_pretrains_without_a_source(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    result = run(BASE, out=tmp_path / "run", quiet=True, overrides={"checkpoint_every": 64})
    saved = checkpoints(result.path / "checkpoints")
    assert len(saved) > 1
    assert weights_file(result.path).parent == saved[-1]
    assert read_manifest(saved[0])["return_last_100"] is None, "returns of random play say nothing of the weights"
    assert not [each for each in recwarn if "policy" in str(each.message)], "that nothing acts by weights is meant"
    assert result.summary["status"] == "finished"
    assert result.summary["episodes"] > 20
    assert result.summary["updates"] == 16


def test_the_id_follows_the_data_and_not_its_place(data: Path, tmp_path: Path) -> None:
    moved, other = tmp_path / "moved", tmp_path / "other"
    shutil.copytree(data, moved)
    record_episodes(BASE, other, 80, seed=1)
    ids = [recipe_id(load_recipe(pretrain(folder))) for folder in (data, moved, other)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"algorithm": {"kind": "ppo"}}, "the algorithm `ppo` learns from its own steps"),
        ({"env.size": [16, 12]}, r"holds frames \[C, H, W\] of \[1, 8, 12\]; the env's are \[1, 16, 12\]"),
        ({"env.id": "CartPole-v1", "env.size": [8, 12]}, r"holds actions \{'discrete': 3\}; the env's are \{'discrete': 2\}"),
        ({"env": {"kind": "gym_state", "id": "CartPole-v1"}, "encoder": {"kind": "mlp"}}, "has no frames, which recorded data is made of"),
        ({"source.folder": "nowhere"}, "nowhere holds no recording: recording.json: No such file"),
        ({"source": None, "env": {"kind": "none", "size": [8, 12]}}, "the env `none` has no simulator"),
        ({"env": {"kind": "none", "size": [8, 12], "actions": 3}, "eval_every": 10}, "nothing can be played"),
        ({"jepa": None, "regularizers": []}, "nothing is learned"),
        ({"curiosity": {"kind": "jepa"}}, "the algorithm `none` learns from no rewards"),
        ({"collector": {"kind": "multi_sync"}}, "with a source of recorded data nothing acts or is collected"),
        ({"env": {"kind": "none", "low": [0.0], "high": [0.0]}}, "low and high must bound the same actions"),
    ],
)
def test_what_does_not_fit_is_an_error_before_the_run(changes: dict[str, Any], told: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        run(pretrain(data), overrides=changes, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_no_env_is_needed_to_say_what_frames_and_actions_are(data: Path, tmp_path: Path) -> None:
    env = {"kind": "none", "num_envs": 2, "size": [8, 12], "actions": 3}
    result = run({**pretrain(data), "env": env}, out=tmp_path / "none", quiet=True)
    with_env = run(pretrain(data), out=tmp_path / "env", quiet=True)
    assert weights_file(result.path).read_bytes() == weights_file(with_env.path).read_bytes()


@pytest.fixture
def subclasses() -> Iterator[None]:
    for slot, base in (("algorithm", NoRL), ("env", NoEnv), ("collector", Direct)):
        register(slot, "own")(type("Own", (base,), {"__module__": __name__, "__doc__": "As its base."}))
    yield
    registry.forget(lambda module: module == __name__)


@pytest.mark.usefixtures("subclasses")
def test_subclasses_of_no_rl_and_no_env_pretrain_as_their_bases(data: Path, tmp_path: Path) -> None:
    env = {"num_envs": 2, "size": [8, 12], "actions": 3}
    own = {"env": {"kind": "own", **env}, "algorithm": {**BASE["algorithm"], "kind": "own"}, "collector": {"kind": "own"}}
    result = run({**pretrain(data), **own}, out=tmp_path / "own", quiet=True)
    plain = run({**pretrain(data), "env": {"kind": "none", **env}}, out=tmp_path / "plain", quiet=True)
    assert weights_file(result.path).read_bytes() == weights_file(plain.path).read_bytes()
    assert read_manifest(checkpoints(result.path / "checkpoints")[0])["return_last_100"] is None
    exported = export(result.path, tmp_path / "exported", trust=True)
    assert "without RL" in (exported.folder / "README.md").read_text()
    with pytest.raises(UserError, match="the env `own` has no simulator"):
        run({**BASE, **own}, out=tmp_path / "no source", quiet=True)


def test_a_recording_of_another_env_gets_a_notice(data: Path, tmp_path: Path) -> None:
    folder = run(pretrain(data), out=tmp_path / "same", quiet=True).path
    assert "another env" not in (folder / "events.jsonl").read_text()
    other = {**ENV, "id": "MountainCar-v0", "size": [8, 12]}
    folder = run({**pretrain(data), "env": other}, out=tmp_path / "other", quiet=True).path
    told = "recorded in another env (gym, Diary-v0) than the recipe's (gym, MountainCar-v0)"
    assert told in (folder / "events.jsonl").read_text()


def test_actions_that_the_env_does_not_have_are_refused(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    steps = load_file(copy / "steps.safetensors")
    steps["action"][3] = 7
    save_file(steps, copy / "steps.safetensors")
    about = json.loads((copy / "recording.json").read_text())
    about["files"]["steps.safetensors"]["sha256"] = digest(copy / "steps.safetensors")
    (copy / "recording.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"the recording has the action 7 at step 3, which the env does not have"):
        run(pretrain(copy), out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
    ("change", "spec", "told"),
    [
        ({"frames": torch.zeros(6, 1, 8, 12)}, Categorical(3), "`frames` is torch.float32"),
        ({"frames": torch.zeros(5, 1, 8, 12, dtype=torch.uint8)}, Categorical(3), "steps point at frames that are not there"),
        ({"frames": torch.zeros(6, 1, 9, 9, dtype=torch.uint8)}, Categorical(3), r"of \[1, 9, 9\]; the env's are \[1, 8, 12\]"),
        ({"done": torch.zeros(5, dtype=torch.bool)}, Categorical(3), "the last step does not end its episode"),
        ({"reward": torch.zeros(5, 1)}, Categorical(3), r"`reward` is torch.float32 \[5, 1\]"),
        ({"reward": torch.full((5,), float("nan"))}, Categorical(3), "not finite"),
        ({"reward": [0.0] * 5}, Categorical(3), "`reward` is list where a tensor was expected"),
        ({"action": torch.tensor([0, 1, 2, 3, 0])}, Categorical(3), "the action 3 at step 3"),
        ({"action": torch.zeros(5, 1)}, Categorical(3), r"actions torch.float32 \[5, 1\]; the env's are"),
        ({}, Bounded(-torch.ones(1), torch.ones(1)), r"actions torch.int64 \[5\]; the env's are"),
        ({"action": torch.zeros(5, 2)}, Bounded(-torch.ones(1), torch.ones(1)), r"\[5, 2\]; the env's are"),
    ],
)
def test_a_source_that_gives_no_recording_of_the_env_is_refused(change: dict[str, Any], spec: TensorSpec, told: str) -> None:
    last = torch.arange(5) == 4
    right = Recording(
        torch.zeros(6, 1, 8, 12, dtype=torch.uint8), torch.arange(5), torch.arange(5), torch.zeros(5).long(), torch.zeros(5), last, last
    )
    source = SimpleNamespace(lacks=(), load=lambda: right._replace(**change))
    with pytest.raises(ValueError, match=told):
        Recorded(source, NoRL(spec, rollout_steps=16, minibatch_size=None, epochs=2), 1, SHAPE, spec, num_envs=4)


def test_broken_data_is_an_error_before_the_run(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    with (copy / "frames.bin").open("r+b") as file:
        file.write(b"other")
    with pytest.raises(UserError, match=r"folder .*copy: frames\.bin is not the file that was recorded"):
        run(pretrain(copy), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_resume_says_that_the_data_is_other_data(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(data, mine)
    path = run(pretrain(mine), out=tmp_path / "run", quiet=True).path
    (path / "summary.json").unlink()
    before = digest_of_data(mine)
    shutil.rmtree(mine)
    record_episodes(BASE, mine, 80, seed=1)
    resume(path, quiet=True)
    told = capsys.readouterr().err
    assert f"`source.folder`, {mine}, does not hold the data that the run began with (SHA-256 {str(before)[:11]}" in told
    assert f"{str(digest_of_data(mine))[:11]}… now)" in told
    assert "edited" not in told


def test_a_term_may_be_a_plain_class(data: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "plain.py"
    plugin.write_text(
        "from jepakit import register\n"
        "@register('regularizer', 'plain_class')\n"
        "class Plain:\n"
        "    def __call__(self, s_x):\n"
        "        return (1 - s_x.std(0)).relu().mean()\n"
    )
    recipe = {**pretrain(data), "plugins": [str(plugin)], "regularizers": [{"kind": "plain_class"}]}
    assert run(recipe, out=tmp_path / "run", quiet=True).summary["status"] == "finished"

"""Exported policies do what the run's policy does, without jepakit."""

from __future__ import annotations

import contextlib
import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import jepakit
from jepakit import registry
from jepakit.agent.evaluate import evaluate
from jepakit.agent.export import files, parity
from jepakit.agent.export.files import export, in_onnxruntime
from jepakit.agent.export.greedy import GreedyPolicy
from jepakit.agent.recording.episodes import record_episodes
from jepakit.agent.trained import opened
from jepakit.cli.export import command
from jepakit.errors import UserError
from jepakit.machine.hardware import Hardware
from jepakit.training.build import build_env, build_learner
from tests.agent.conftest import ON, RUNS, SAC, SMALL, Trained, raw_episodes
from tests.small import small_pretraining

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

CNN = {"encoder": {"kind": "nature_cnn", "dim": 32, "scaling": "normalized"}}
MLP = {"encoder": {"kind": "mlp", "hidden": [16]}}
COVERED = ("a2c", "reinforce", "dqn", "sac_continuous")  #: whose heads are as those of another algorithm


class Made(NamedTuple):
    run: Path
    folder: Path
    told: str


@pytest.fixture(scope="module")
def discrete(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("discrete")
    run = jepakit.run("cartpole_pixels", overrides=CNN | ON, out=folder / "run", quiet=True).path
    (folder / "out").mkdir()
    with redirect_stdout(io.StringIO()) as told:
        command(run, folder / "out")
    return Made(run, folder / "out", told.getvalue())


class Beside:
    """The exported policy, which must act as the run's own does at every single step."""

    def __init__(self, run: Path, file: Path) -> None:
        self.own, self.exported, self.steps = jepakit.load_policy(run), in_onnxruntime(file), 0

    def frames(self) -> Any:
        return self.own.frames()

    def __call__(self, pixels: Any) -> Any:
        action = self.exported(torch.from_numpy(pixels))["action"]
        assert np.array_equal(action, self.own(pixels))
        self.steps += len(action)
        return action


def test_onnx_plays_20_episodes_as_eval_does(discrete: Made) -> None:
    run, folder, _ = discrete
    expected = evaluate(run, 20, seed=11)["greedy"]
    policy = Beside(run, folder / "policy.onnx")
    assert raw_episodes("CartPole-v1", policy, 11, [10, 10]) == {key: expected[key] for key in ("returns", "lengths")}
    assert policy.steps >= sum(expected["lengths"])


@pytest.mark.parametrize("count", [1, 7])
def test_all_files_take_any_batch(discrete: Made, count: int) -> None:
    run, folder, _ = discrete
    pixels = torch.randint(0, 256, (count, 3, 1, 40, 60), dtype=torch.uint8)
    expected = jepakit.load_policy(run)(pixels), jepakit.load_encoder(run)(pixels).detach()
    for name in ("policy", "encoder"):
        program = torch.export.load(folder / f"{name}.pt2").module()(pixels)
        model = in_onnxruntime(folder / f"{name}.onnx")(pixels)
        assert list(model) == list(program)
        for found in (program, model):
            assert np.allclose(found["s_x"], expected[1], atol=1e-5)
            assert name == "encoder" or np.array_equal(found["action"], expected[0])


def run_blocks(card: str, expects: str, shape: tuple[int, ...]) -> None:
    """Run the card's code, in the exported folder."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", card, re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
        assert names[expects].shape == shape


def test_the_card_is_complete_and_its_code_runs(discrete: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder, _ = discrete
    card = (folder / "README.md").read_text()
    assert "policy.onnx" in discrete.told
    assert "256 of 256" in discrete.told
    assert (run / "recipe.yaml").read_text().rstrip() in card
    for told in ("## Results", "collapsed?", "| `policy.onnx` | `logits` |", "256 of 256 actions equal", "torch 2", "Apache 2.0"):
        assert told in card
    monkeypatch.chdir(folder)
    run_blocks(card, expects="action", shape=(1,))
    weights = load_file(folder / "weights.safetensors")
    assert sum("mean" in name or "deviation" in name for name in weights) == 2  # the running statistics, as constants
    begun = jepakit.load_recipe(run / "recipe.yaml", {"encoder.checkpoint": str(folder)})
    with contextlib.closing(build_env(begun)) as env:
        encoder = build_learner(begun, env, Hardware("cpu", "fp32", threads=1)).encoder.state_dict()
    learned = jepakit.load_encoder(run).state_dict()
    assert all(torch.equal(encoder[name], learned[name]) for name in learned), "a run begins with an exported encoder, statistics included"
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "recipe.yaml", "weights.safetensors", "policy.pt2", "policy.onnx", "encoder.pt2", "encoder.onnx")
    }


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in COVERED else name for name in RUNS])
def test_every_algorithms_greedy_actions_are_the_runs(trained: Trained, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "STACKS", 40)
    pixels = torch.randint(0, 256, (50, *jepakit.load_policy(trained(name)).frame_shape), dtype=torch.uint8)
    with opened(trained(name), best=False, trust=False, warn=print) as parts:
        plain = GreedyPolicy(parts.learner.encoder, parts.learner.algorithm.policy_head())
        frames = parity.play(parts, seed=2, first_action=0)
        parity.compare(Path(name), files._eager(plain), frames)
    assert np.allclose(plain(pixels)["action"], jepakit.load_policy(trained(name))(pixels), atol=1e-5)


def test_of_a_pretraining_the_encoder_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = {**SMALL, "algorithm": {"kind": "none", "rollout_steps": 30, "minibatch_size": 30}} | CNN
    run = jepakit.run("cartpole_pixels", overrides=overrides, out=tmp_path / "run", quiet=True).path
    done = export(run, tmp_path / "out")
    assert done.compared == "the run's own encoder on 256 observations of its env"
    names = ("README.md", "recipe.yaml", "weights.safetensors", "encoder.pt2", "encoder.onnx")
    assert {path.name for path in done.folder.iterdir()} == set(names)
    pixels = torch.randint(0, 256, (3, 3, 1, 40, 60), dtype=torch.uint8)
    expected = jepakit.load_encoder(run)(pixels).detach()
    assert np.allclose(in_onnxruntime(done.folder / "encoder.onnx")(pixels)["s_x"], expected, atol=1e-5)
    card = (done.folder / "README.md").read_text()
    assert "policy.onnx" not in card
    assert "has no policy" in card
    monkeypatch.chdir(done.folder)
    run_blocks(card, expects="s_x", shape=(1, 32))
    begun = jepakit.load_recipe(run / "recipe.yaml", {"encoder.checkpoint": str(done.folder)})
    with contextlib.closing(build_env(begun)) as env:
        encoder = build_learner(begun, env, Hardware("cpu", "fp32", threads=1)).encoder.state_dict()
    learned = jepakit.load_encoder(run).state_dict()
    assert all(torch.equal(encoder[name], learned[name]) for name in learned), "another run begins with it"


def test_an_encoder_without_an_env_is_compared_on_noise(tmp_path: Path) -> None:
    record_episodes("cartpole_pixels", tmp_path / "data", 20, overrides={"env.size": [16, 24], "env.num_envs": 2})
    recipe = small_pretraining({"kind": "recording", "folder": str(tmp_path / "data")}, size=[16, 24], actions=2)
    run = jepakit.run(recipe, out=tmp_path / "run", quiet=True).path
    assert export(run, tmp_path / "out").compared == "the run's own encoder on 256 stacks of noise"


@pytest.mark.slow
def test_a_continuous_policy_in_bf16_is_exported_in_fp32(tmp_path: Path) -> None:
    overrides = {**SAC, **MLP, "precision": "bf16"}
    run = jepakit.run("pendulum_pixels", overrides=overrides, out=tmp_path / "run", quiet=True).path
    folder = export(run, tmp_path / "out").folder
    assert "The run computed its encoder in bf16; the export computes in fp32." in (folder / "README.md").read_text()
    expected = evaluate(run, 2, seed=1, overrides=["env.max_episode_steps=20"])["greedy"]
    model = in_onnxruntime(folder / "policy.onnx")

    class Policy:
        frames = staticmethod(jepakit.load_policy(run).frames)

        def __call__(self, pixels: Any) -> Any:
            return model(torch.from_numpy(pixels))["action"]

    played = raw_episodes("Pendulum-v1", Policy(), 1, [1, 1], limit=20)
    assert played["returns"] == pytest.approx(expected["returns"], rel=0.05)


def test_outputs_that_differ_are_an_error(discrete: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder, _ = discrete
    model = in_onnxruntime(folder / "policy.onnx")
    with opened(run, best=False, trust=False, warn=print) as parts:
        frames = parity.play(parts, seed=2, first_action=0)
    parity.compare(Path("mine.onnx"), model, frames)
    for name, told in (("logits", "logits by 0.01"), ("action", "256 actions")):

        def wrong(pixels: Tensor, name: str = name) -> dict[str, Any]:
            found = dict(model(pixels))
            return found | {name: 1 - found[name] if name == "action" else found[name] + 0.01}

        with pytest.raises(UserError, match=rf"mine\.onnx is not the run's policy.*{told}"):
            parity.compare(Path("mine.onnx"), wrong, frames)
    monkeypatch.setattr(parity, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match=r"policy\.pt2 is not the run's policy"):
        export(run, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_one_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    @jepakit.register("encoder", "undecided")
    class Undecided(nn.Module):
        """Branches on its input."""

        def __init__(self, frames: Any) -> None:
            super().__init__()
            self.layer = nn.Linear(40 * 60 * 3, 8)

        def forward(self, pixels: Tensor) -> Tensor:
            s_x = self.layer(pixels.flatten(-4).float() / 255)
            return s_x if pixels.float().mean() > 3 else -s_x

    try:
        run = jepakit.run("cartpole_pixels", overrides={"encoder": {"kind": "undecided"}} | ON, out=tmp_path / "run", quiet=True).path
        with pytest.raises(UserError, match=r"torch\.export cannot trace encoder `undecided`") as caught:
            export(run, tmp_path / "out")
        assert "\n" not in str(caught.value).replace("\\n", "\n")
        assert "def forward" not in capfd.readouterr().err, "torch prints the whole graph"
    finally:
        registry.forget(lambda module: module == __name__)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_refused(discrete: Made) -> None:
    run, folder, _ = discrete
    with pytest.raises(UserError, match="can't write to"):
        export(run, Path("/dev/null/out"))
    with pytest.raises(UserError, match="is not empty"):
        export(run, folder)

"""Notices about settings that are valid but probably unintended, and what a rehearsal refuses."""

import contextlib
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jepakit import registry
from jepakit.machine.hardware import Hardware
from jepakit.recipe import load_recipe
from jepakit.registry import register
from jepakit.storage.unsaved import changed, plain_state
from jepakit.training.build import build_env
from jepakit.training.rehearsal import notices, rehearse

CONSTANT = "with gradients through both encoders a constant embedding minimises L_JEPA: a regularizer prevents that"
A2C = ["algorithm.kind=a2c", "algorithm.rollout_steps=8"]
DROPPED = "`algorithm.kind: a2c` begins with its own defaults; not taken over from `ppo`: gamma 0.9"
EQUAL = "without augmentations all views of a stack are equal"
NO_RL = ["algorithm={kind: none, rollout_steps: 8}"]
UNSEEN = "the distractions change the env's frames, not those of the source: nothing learns under them"
RANDOM = "no loss term reaches the encoder: it keeps its random weights"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], []),
        (["jepa.target.kind=online"], [CONSTANT]),
        (["jepa.target.kind=online", "regularizers=[{kind: vicreg}]"], []),
        (["jepa.target.kind=online", "regularizers=[{kind: vicreg, weight: 0.0}]"], [CONSTANT]),
        (["jepa.target.kind=online", "jepa.objective.kind=infonce"], []),
        (["jepa.target.kind=online", "jepa.weight=0.0"], []),
        (["jepa=null", "algorithm.gradients_to_encoder=false"], [RANDOM]),
        (["jepa=null", "algorithm.gradients_to_encoder=false", "auxiliary=[{kind: reconstruction}]"], []),
        (A2C, [DROPPED]),
        ([*A2C, "algorithm.gamma=0.99"], []),
        (["jepa.y=same"], [EQUAL]),
        (["jepa.y=same", "augmentations=[{kind: random_shift}]"], []),
        (["algorithm={kind: sac, rollout_steps: 8, next_views: 2, gamma: 0.9}"], [EQUAL]),
        ([*NO_RL, "jepa=null", "regularizers=[{kind: variance, weight: 0.0}]"], [RANDOM]),
        ([*NO_RL, "source={kind: recording, folder: here}", "distractions=[{kind: noise}]"], [UNSEEN]),
        (
            ["algorithm={kind: sac, rollout_steps: 8, learning_starts: 1601, gamma: 0.9}"],
            ["learning_starts 1,601 is not reached in 1,600 env steps: nothing will be learned"],
        ),
        (["algorithm={kind: sac, rollout_steps: 8, learning_starts: 1600, gamma: 0.9}"], []),
        (["total_steps=1001"], ["total_steps 1,001 is rounded up to whole batches: 1,008"]),
    ],
)
def test_unintended_settings_get_a_notice(tmp_path: Path, overrides: list[str], expected: list[str]) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "env: {kind: gym, id: Diary-v0, num_envs: 2, size: null}\nalgorithm: {rollout_steps: 8, gamma: 0.9, clip: 0.3}\ntotal_steps: 1600\n"
    )
    recipe = load_recipe(file, overrides)
    env = build_env(recipe)
    assert notices(recipe, env) == expected
    env.close()


def test_an_encoder_that_differs_in_eval_mode_gets_a_notice_and_stays_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("env: {kind: gym, id: Diary-v0, num_envs: 2, size: null}\nalgorithm: {rollout_steps: 8}\ntotal_steps: 1600\n")
    recipe = load_recipe(file)
    env = build_env(recipe)

    class Sound(nn.Module):
        def __init__(self, *more: nn.Module) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(-4), nn.Linear(env.observation_spec["pixels"].shape[1:].numel(), 8), *more)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.layers(pixels.float() / 255)

    for more, told in (([], 0), ([nn.BatchNorm1d(8)], 1), ([nn.Dropout(0.5)], 1), ([nn.LayerNorm(8)], 0)):
        encoder = Sound(*more)
        before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        found = notices(recipe, env, encoder)
        assert torch.equal(torch.rand(3), expected)
        assert len(found) == told
        assert all("train() and eval()" in text for text in found)
        assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())
    env.close()


@pytest.mark.parametrize("owner", ["counter", "running", "torch", "numpy", "legacy", "python", "nothing"])
def test_state_that_changes_in_plain_attributes_gets_a_notice(tmp_path: Path, owner: str) -> None:
    @register("predictor", "keeps")
    class Keeps(nn.Module):
        def __init__(self, embedding_width: int) -> None:
            super().__init__()
            self.layer = nn.Linear(embedding_width, embedding_width)
            self.calls = 0
            self.nothing = float("nan")
            self.torch = torch.Generator().manual_seed(0)
            self.numpy, self.legacy, self.python = np.random.default_rng(0), np.random.RandomState(0), random.Random(0)
            self.last: int | None = None  # a cache, not state
            self.running: float | None = None

        def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
            self.last = len(s_x)
            if owner == "counter":
                self.calls += 1
            elif owner == "running":
                mean = s_x.mean().item()
                self.running = mean if self.running is None else 0.9 * self.running + mean
            elif owner == "torch":
                torch.rand(1, generator=self.torch)
            elif owner != "nothing":
                getattr(self, owner).random()
            return self.layer(s_x)

    file = tmp_path / "recipe.yaml"
    file.write_text(
        "env: {kind: gym, id: Diary-v0, num_envs: 2, size: null}\nalgorithm: {rollout_steps: 8, minibatch_size: 8}\n"
        "encoder: {kind: vit, dim: 8, depth: 1, heads: 2, patch: 4}\njepa: {predictor: {kind: keeps}}\ntotal_steps: 1600\n"
    )
    try:
        recipe = load_recipe(file)
        with contextlib.closing(build_env(recipe)) as env:
            told = rehearse(recipe, env, Hardware("cpu", "fp32", threads=1)).notices
    finally:
        registry.forget(lambda module: module == __name__)
    name = {"counter": "calls"}.get(owner, owner)
    wanted = f"predictor.{name}: changes with use, but is in no `state_dict` and so in no checkpoint; a resumed run may differ"
    assert told == ([] if owner == "nothing" else [wanted])


def test_torchs_own_lists_of_weights_are_no_state_of_their_own() -> None:
    module = nn.Sequential(nn.GRU(3, 4))
    before = plain_state(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert not changed(before, plain_state(module))


def test_counts_and_sets_are_state() -> None:
    module = nn.Module()
    module.count, module.seen = itertools.count(1), {1}
    before = plain_state(module)
    next(module.count)
    module.seen.add(2)
    assert changed(before, plain_state(module)) == ["count", "seen"]


class Own:
    """A plain object that a component keeps."""

    def __init__(self, **held: object) -> None:
        vars(self).update(held)


def test_the_state_of_odd_attributes_is_read() -> None:
    module = nn.Module()
    module.column, module.half, module.sparse = torch.ones(2, 2)[:, 0], torch.ones((), dtype=torch.bfloat16), torch.ones(3).to_sparse()
    module.list, module.mixed, module.objects = [1, [2, torch.ones(1)]], {"phase": "warm", "layer": nn.Identity()}, np.array([None])
    module.own, module.function, module.part = Own(inner=Own(count=1, itself=None)), len, nn.Identity()
    module.own.inner.itself, module.weight = module.own, nn.Parameter(torch.ones(1))
    module.own.inner.shared = module.weight
    before = plain_state(module)
    assert {*before} == {"column", "half", "list", "mixed", "objects", "own.inner.count"}
    assert not changed(before, plain_state(module))
    module.list[1][1] += 1
    module.column[1] = 3
    module.mixed["phase"] = "hot"
    module.weight.data += 1
    module.own.inner.count = 2
    module.own.inner.cache = torch.ones(2)
    assert changed(before, plain_state(module)) == ["column", "list", "mixed", "own.inner.count"]

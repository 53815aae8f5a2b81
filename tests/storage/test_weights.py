"""A part begins with another run's weights: what fits, what does not, and what depends on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jepakit.components.encoders.pixels import NormalizedPixels
from jepakit.errors import UserError
from jepakit.files.checkpoints import weights_file
from jepakit.machine.hardware import Hardware
from jepakit.recipe import load_recipe, recipe_id
from jepakit.sweep.plan import load_sweep
from jepakit.training.build import build_env, build_learner
from jepakit.training.learner import Learner
from jepakit.training.run import resume, run

BASE: dict[str, Any] = {
    "env": {"kind": "gym", "id": "Diary-v0", "num_envs": 2, "size": None, "max_episode_steps": 4},
    "encoder": {"kind": "impala", "scaling": "normalized", "dim": 8},
    "algorithm": {"kind": "ppo", "rollout_steps": 16, "epochs": 1, "minibatch_size": 16},
    "total_steps": 64,
    "checkpoint_every": 32,
    "threads": 1,
    "precision": "fp32",
}
Build = Callable[..., Learner]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, diary: None) -> Path:
    return run(BASE, out=tmp_path_factory.mktemp("trained") / "run", quiet=True).path


def build(**overrides: Any) -> Learner:
    recipe = load_recipe(BASE, {name.replace("__", "."): value for name, value in overrides.items()})
    env = build_env(recipe)
    try:
        return build_learner(recipe, env, Hardware("cpu", "fp32", threads=1))
    finally:
        env.close()


def of(part: str, file: Path) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): tensor for name, tensor in load_file(file).items() if name.startswith(f"{part}.")}


def same(module: Any, expected: dict[str, Tensor]) -> bool:
    own = module.state_dict()
    return own.keys() == expected.keys() and all(torch.equal(own[name], expected[name]) for name in own)


def test_encoder_target_and_predictor_begin_with_what_the_run_learned(trained: Path) -> None:
    learner = build(encoder__checkpoint=str(trained), jepa__predictor__checkpoint=str(trained))
    newest = trained / "checkpoints" / "000000000064" / "weights.safetensors"
    encoder = of("encoder", newest)
    assert same(learner.encoder, encoder), "statistics of pixels included"
    assert int(encoder["scale.count"]) > 0
    assert learner.jepa
    assert same(learner.jepa.target.encoder, encoder), "the target starts as a copy"
    assert same(learner.jepa.predictor, of("predictor", newest))
    assert not same(learner.encoder, of("target.encoder", newest)), "the stored target is not what was loaded"


def test_a_target_alone_begins_with_it(trained: Path) -> None:
    learner = build(jepa__target={"kind": "frozen", "checkpoint": str(trained)})
    fresh = build()
    assert learner.jepa
    assert same(learner.jepa.target.encoder, of("encoder", weights_file(trained)))
    assert same(learner.encoder, fresh.encoder.state_dict())


def test_a_target_without_weights_of_its_own_takes_none(trained: Path) -> None:
    with pytest.raises(UserError, match=r"this target has no attribute `encoder` with weights of its own; write `encoder.checkpoint`"):
        build(jepa__target={"kind": "stop_gradient", "checkpoint": str(trained)})


def test_without_a_checkpoint_weights_are_those_of_before(trained: Path) -> None:
    plain, frozen = build(), build(encoder__frozen=True)
    assert same(frozen.encoder, plain.encoder.state_dict())
    assert same(frozen.algorithm, plain.algorithm.state_dict())


def test_a_frozen_encoder_stays_in_eval_mode_with_its_statistics(trained: Path) -> None:
    learner = build(encoder__checkpoint=str(trained), encoder__frozen=True)
    assert not any(parameter.requires_grad for parameter in learner.encoder.parameters())
    learner.parts.train()
    assert not any(module.training for module in learner.encoder.modules())
    assert learner.jepa
    for part in (learner.encoder, learner.jepa.target.encoder):
        before = int(part.scale.count)
        for observer in learner.observers:
            observer.observe(torch.zeros(5, 1, 8, 12, dtype=torch.uint8))
        assert int(part.scale.count) == before
    assert learner.jepa.predictor.training
    random = build(encoder__frozen=True)  # nothing is known of its pixels yet
    random.observers[0].observe(torch.zeros(5, 1, 8, 12, dtype=torch.uint8))
    assert sum(int(each.count) for each in random.observers if isinstance(each, NormalizedPixels)) == 5


@pytest.mark.parametrize("how", ["run", "checkpoint", "file", "state"])
def test_a_run_a_checkpoint_and_a_file_are_taken(how: str, trained: Path, tmp_path: Path) -> None:
    file = weights_file(trained)
    save_file(of("encoder", file), tmp_path / "state.safetensors")
    named = {"run": trained, "checkpoint": file.parent, "file": file, "state": tmp_path / "state.safetensors"}[how]
    assert same(build(encoder__checkpoint=str(named)).encoder, of("encoder", file))


def test_a_run_means_its_best_checkpoint(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    assert weights_file(copy).parent.name == "000000000064"
    (copy / "checkpoints" / "000000000064" / "manifest.json").write_text("{}")  # its return is unknown now
    assert weights_file(copy).parent.name == "000000000032"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"encoder.dim": 16}, r"`encoder.dim` is 8 there and 16 here; `\S+` is float32 \[8\] there"),
        ({"encoder.simnorm": 4}, r"`encoder.simnorm` is null there and 4 here; it lacks `0\.\S+` and \d+ more; only it has `"),
        ({"encoder.scaling": "unit"}, r"`encoder.scaling` is normalized there and unit here; only it has `scale.count` and 2 more"),
        ({"encoder": {"kind": "nature_cnn"}}, r"`encoder.kind` is impala there and nature_cnn here"),
        ({"env.frames": 4}, r"`env.frames` is 3 there and 4 here; `\S+` is float32"),
        ({"env.size": [16, 12]}, r"`env.size` is null there and \[16, 12\] here"),
    ],
)
def test_each_difference_is_named(changes: dict[str, Any], told: str, trained: Path) -> None:
    if "encoder" in changes:
        changes = {"encoder": {**changes["encoder"], "checkpoint": str(trained)}, "env.size": [40, 40]}
    else:
        changes = {"encoder.checkpoint": str(trained)} | changes
    with pytest.raises(UserError, match=rf"checkpoint .* holds a different encoder: {told}"):
        build(**changes)


def test_a_field_newer_than_their_run_has_its_default_there(trained: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(trained, old)
    text = (old / "recipe.yaml").read_text()
    assert "  motion: null\n" in text
    (old / "recipe.yaml").write_text(text.replace("  motion: null\n", ""))
    assert same(build(encoder__checkpoint=str(old)).encoder, of("encoder", weights_file(old)))
    with pytest.raises(UserError, match=r"holds a different encoder: `encoder.motion` is null there and 3.0 here"):
        build(**{"encoder.checkpoint": str(old), "encoder.motion": 3.0})


def test_files_that_hold_no_weights_are_refused(tmp_path: Path, trained: Path) -> None:
    def refused(path: Path, told: str) -> None:
        with pytest.raises(UserError, match=told):
            build(encoder__checkpoint=str(path))

    refused(tmp_path / "nowhere", r"checkpoint .*nowhere does not exist")
    refused(tmp_path, r"weights.safetensors does not exist")
    (tmp_path / "recipe.yaml").write_text("env: {}")
    refused(tmp_path, r"is a run without a checkpoint")
    (tmp_path / "weights.safetensors").write_text("{}")
    refused(tmp_path, r"cannot be read as safetensors")
    tensors = load_file(weights_file(trained))
    tensors["encoder.head.2.bias"][0] = float("nan")
    save_file(tensors, tmp_path / "weights.safetensors")
    refused(tmp_path, r"holds weights that are not finite: head.2.bias")
    (tmp_path / "weights.safetensors").unlink()
    os.mkfifo(tmp_path / "weights.safetensors")
    refused(tmp_path, r"does not exist")


def test_the_id_depends_on_contents_and_on_the_part_and_not_on_the_path(tmp_path: Path, trained: Path) -> None:
    def identity(**overrides: Any) -> str:
        values = {name.replace("__", "."): value for name, value in overrides.items()}
        return recipe_id(load_recipe(BASE, values))

    copied = tmp_path / "other"
    shutil.copytree(trained, copied)
    learned = identity(encoder__checkpoint=str(trained))
    assert learned == identity(encoder__checkpoint=str(copied)) == identity(encoder__checkpoint=str(weights_file(copied)))
    others = [
        identity(),
        identity(encoder__frozen=True),
        identity(encoder__checkpoint=str(trained), encoder__frozen=True),
        identity(jepa__target__checkpoint=str(trained)),
        identity(encoder__checkpoint=str(trained / "checkpoints" / "000000000032")),
    ]
    assert len({learned, *others}) == 6


def test_a_run_keeps_the_weights_and_resumes_bit_for_bit(trained: Path, tmp_path: Path) -> None:
    begun = {
        "encoder.checkpoint": str(trained),
        "encoder.frozen": True,
        "jepa.target.checkpoint": str(trained / "checkpoints/000000000032"),
    }
    whole = run(BASE, overrides=begun, out=tmp_path / "whole", quiet=True).path
    assert sorted(path.name for path in (whole / "weights").rglob("*.safetensors")) == ["run@32.safetensors", "run@64.safetensors"]
    moved = tmp_path / "moved"
    shutil.copytree(whole, moved)
    shutil.rmtree(moved / "checkpoints" / "000000000064")
    (moved / "summary.json").unlink()
    resume(moved, quiet=True)
    last = "checkpoints/000000000064/weights.safetensors"
    assert (moved / last).read_bytes() == (whole / last).read_bytes()
    assert same(build(encoder__checkpoint=str(trained)).encoder, of("encoder", whole / last)), "frozen"


def test_a_sweep_over_checkpoints_names_each(trained: Path, tmp_path: Path) -> None:
    over = [f"encoder.checkpoint={trained},{trained / 'checkpoints/000000000032'},null", "encoder.frozen=true,false"]
    runs = load_sweep(BASE, over=over).runs
    assert len({planned.id for planned in runs}) == len({planned.label for planned in runs}) == 6

"""Factors on the learning rates of parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from jepakit.errors import UserError
from jepakit.machine.hardware import Hardware
from jepakit.recipe import RecipeError, load_recipe
from jepakit.training.build import build_env
from jepakit.training.rehearsal import rehearse
from jepakit.training.update.rates import parameter_groups


def parts() -> nn.ModuleDict:
    encoder = nn.Sequential()
    encoder.add_module("convolutions", nn.Linear(2, 2))
    encoder.add_module("trunk", nn.Sequential(nn.Linear(2, 2, bias=False), nn.LayerNorm(2)))
    algorithm = nn.Module()
    algorithm.loss = nn.Module()
    algorithm.loss.log_alpha = nn.Parameter(torch.zeros(()))
    algorithm.targets = nn.Linear(2, 2).requires_grad_(False)
    return nn.ModuleDict({"encoder": encoder, "predictor": nn.Linear(2, 2), "algorithm": algorithm})


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({}, {}),
        ({"encoder": 0.1}, {"encoder.": 0.1}),
        ({"algorithm.log_alpha": 0.1, "predictor": 2.0}, {"algorithm.loss.log_alpha": 0.1, "predictor.": 2.0}),
        ({"encoder.trunk.1": 3.0, "encoder": 0.5, "encoder.trunk": 0.0}, {"encoder.": 0.5, "encoder.trunk.": 0.0, "encoder.trunk.1.": 3.0}),
        ({"encoder.weight": 0.2}, {"encoder.convolutions.weight": 0.2, "encoder.trunk.0.weight": 0.2, "encoder.trunk.1.weight": 0.2}),
    ],
)
def test_every_parameter_is_in_one_group_with_its_factor(factors: dict[str, float], expected: dict[str, float]) -> None:
    trained = parts()
    groups = parameter_groups(trained, factors)
    found = [(id(parameter), group["factor"]) for group in groups for parameter in group["params"]]
    wanted = {}
    for name, parameter in trained.named_parameters():
        if parameter.requires_grad:
            fitting = [prefix for prefix in expected if name.startswith(prefix)]
            wanted[id(parameter)] = expected[max(fitting, key=len)] if fitting else 1.0
    assert len(found) == len(wanted)
    assert dict(found) == wanted
    if not factors:
        assert [identity for identity, _ in found] == list(wanted), "one group in the order of the parameters, as without factors"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("encodr", "did you mean `encoder`?"),
        ("algorithm.alpha", "did you mean `algorithm.log_alpha`?"),
        ("algorithm.targets", "did you mean"),  # holds nothing that is trained
        ("trunk", "did you mean `encoder.trunk`?"),
        ("zzzz", "write a part (encoder, predictor, algorithm) or a name in a part, such as `encoder.convolutions`"),
    ],
)
def test_a_name_that_fits_nothing_is_a_mistake(name: str, advice: str) -> None:
    with pytest.raises(UserError) as mistake:
        parameter_groups(parts(), {"encoder": 0.1, name: 0.1})
    assert f"lr_factors names `{name}`, where nothing is trained: {advice}" in str(mistake.value)


def test_the_mistake_is_told_at_its_place_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "env: {kind: gym, id: Diary-v0, num_envs: 2, size: null}\nencoder: {kind: vit, dim: 8, depth: 1, heads: 1, patch: 4}\n"
        "algorithm: {rollout_steps: 8, minibatch_size: 8}\noptimizer:\n  lr_factors: {predictr: 0.1}\n"
    )
    recipe = load_recipe(file)
    with pytest.raises(RecipeError, match=r"recipe\.yaml:5:\d+: lr_factors names `predictr`.*did you mean `predictor`\?"):
        rehearse(recipe, build_env(recipe), Hardware("cpu", "fp32", threads=1))


def test_a_factor_scales_the_rate_that_schedule_and_warm_up_give(make_learner: Any, collect: Any) -> None:
    """Adam's first step moves every weight by lr · gradient / (|gradient| + ε): a tenth of the rate is a tenth of the way."""
    ways = []
    for factors in ({}, {"encoder": 0.1, "algorithm.critic": 0.0}):
        learner = make_learner(lr=1e-2, lr_schedule="linear", warmup_updates=4, lr_factors=factors, minibatch_size=24)
        before = {name: parameter.detach().clone() for name, parameter in learner.trained.named_parameters()}
        batch = collect(learner, num_envs=3, steps=8)
        learner.learn(batch, progress=0.75)  # one update: a quarter of a quarter of the rate
        assert learner.updates == 1
        ways.append({name: parameter.detach() - before[name] for name, parameter in learner.trained.named_parameters()})
    assert max(way.abs().max().item() for way in ways[0].values()) == pytest.approx(1e-2 / 16, rel=1e-2)
    for name, way in ways[0].items():
        factor = 0.1 if name.startswith("encoder.") else 0.0 if name.startswith("algorithm.critic.") else 1.0
        torch.testing.assert_close(ways[1][name], way * factor, rtol=1e-2, atol=2e-7, msg=name)

"""Several augmented views of a stack, as an algorithm gets them; and a target that sees another view of x."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDictBase
from torch import Tensor

from jepakit.machine.hardware import Hardware
from jepakit.protocols import PIXELS, S_X, VIEWS, Minibatch
from jepakit.recipe import RecipeError, load_recipe
from jepakit.training.build import build_env, build_learner
from jepakit.training.learner import Learner
from jepakit.training.policy import Policy

RECIPE = """
env: {kind: gym, id: Diary-v0, num_envs: 2, size: [24, 24], max_episode_steps: 4}
encoder: {kind: drq_cnn, dim: 8}
augmentations: [{kind: random_shift, pad: 3}]
algorithm: {kind: sac, minibatch_size: 12, learning_starts: 0, hidden: [8]}
"""


class Recorded:
    """An augmentation that remembers what it was given and what it made of it."""

    def __init__(self, augmentation: Any) -> None:
        self.augmentation = augmentation
        self.calls: list[tuple[Tensor, Tensor]] = []

    def __call__(self, pixels: Tensor) -> Tensor:
        self.calls.append((pixels, self.augmentation(pixels)))
        return self.calls[-1][1]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    """A learner, a minibatch of its replay, and its recorded augmentation."""
    envs = []

    def build(*overrides: str) -> tuple[Learner, Minibatch, Recorded]:
        (tmp_path / "recipe.yaml").write_text(RECIPE)
        recipe = load_recipe(tmp_path / "recipe.yaml", overrides)
        envs.append(build_env(recipe))
        envs[-1].set_seed(0)
        learner = build_learner(recipe, envs[-1], Hardware("cpu", "fp32", threads=1))
        with torch.no_grad():
            learner.experience.extend(envs[-1].rollout(12, Policy(learner), break_when_any_done=False))
        recorded = Recorded(learner.augmentations[0])
        learner.augmentations = [recorded]
        return learner, learner.experience.sample(), recorded

    yield build
    for env in envs:
        env.close()


def handed_over(learner: Learner, minibatch: Minibatch) -> TensorDictBase:
    """What the algorithm's losses were given."""
    given: list[TensorDictBase] = []
    losses = learner.algorithm.losses
    learner.algorithm.losses = lambda steps: given.append(steps.clone(False)) or losses(steps)
    learner.losses(minibatch)
    return given[0]


@pytest.mark.parametrize("gradients_to_encoder", ["true", "false"])
def test_an_algorithm_that_averages_gets_views_with_draws_of_their_own(make: Any, gradients_to_encoder: str) -> None:
    fields = ("algorithm.views=3", "algorithm.next_views=2", f"algorithm.gradients_to_encoder={gradients_to_encoder}")
    learner, minibatch, augmentation = make(*fields, "jepa=null")
    steps = handed_over(learner, minibatch)

    x, following = minibatch.window[PIXELS][:, 0], minibatch.steps["next", PIXELS]
    shifted = {"x": [], "following": []}
    for given, made in augmentation.calls:
        if len(given) == 24:  # the window's two stacks
            assert torch.equal(given[::2], x)
            shifted["x"].append(made[::2])
        else:
            shifted["x" if torch.equal(given, x) else "following"].append(made)
            assert torch.equal(given, x) or torch.equal(given, following)
    assert {name: len(each) for name, each in shifted.items()} == {"x": 3, "following": 2}
    for views in shifted.values():
        assert all(not torch.equal(one, other) for i, one in enumerate(views) for other in views[:i])
    torch.testing.assert_close(steps[VIEWS], torch.stack([learner.encoder(view) for view in shifted["x"]], dim=1))
    after = torch.stack([learner.bootstrap_encoder(view) for view in shifted["following"]], dim=1)
    torch.testing.assert_close(steps["next", VIEWS], after)
    assert torch.equal(steps[S_X], steps[VIEWS][:, 0])
    assert torch.equal(steps["next", S_X], after[:, 0])
    assert steps[VIEWS].requires_grad == steps[S_X].requires_grad == (gradients_to_encoder == "true")
    assert not steps["next", VIEWS].requires_grad


def test_one_view_is_handed_over_as_before(make: Any) -> None:
    learner, minibatch, augmentation = make("jepa=null")
    steps = handed_over(learner, minibatch)
    assert VIEWS not in steps
    assert VIEWS not in steps["next"]
    assert len(augmentation.calls) == 2


def test_the_actor_and_the_other_terms_read_the_first_view(make: Any) -> None:
    learner, minibatch, augmentation = make("algorithm.views=2", "regularizers=[{kind: variance}]", "jepa=null")
    terms, metrics = learner.losses(minibatch)
    s_x = learner.encoder(augmentation.calls[0][1][::2])
    torch.testing.assert_close(terms["regularizer/variance"].loss, -s_x.var(dim=0).mean().clamp(max=1))
    torch.testing.assert_close(metrics["embedding/variance"], s_x.var(dim=0).mean())


def test_y_same_with_infonce_and_no_predictor_is_curl(make: Any) -> None:
    """Laskin et al. 2020: logits q · W k of two augmentations of the same stacks, the second through the momentum encoder."""
    learner, minibatch, augmentation = make("jepa={y: same, predictor: {kind: identity}, objective: {kind: infonce}}")
    with torch.no_grad():
        for parameter in (*learner.jepa.target.parameters(), *learner.jepa.objective.parameters()):
            parameter.add_(torch.randn_like(parameter), alpha=0.1)  # as after some updates

    terms, _ = learner.losses(minibatch)

    x = minibatch.window[PIXELS][:, 0]
    (windows, first), _, (given, second) = augmentation.calls  # the window; the stacks that values bootstrap from; the keys
    assert torch.equal(windows[::2], x)
    assert torch.equal(given, x)
    assert not torch.equal(first[::2], second)
    queries, keys = learner.encoder(first[::2]), learner.jepa.target.encoder(second).detach()
    w = learner.jepa.objective.bilinear.weight
    loss = 0.0
    for m in range(len(x)):
        logits = torch.stack([queries[m] @ w @ key for key in keys])
        loss = loss + (logits.exp().sum().log() - logits[m]) / len(x)
    torch.testing.assert_close(terms["jepa"].loss, loss)
    leaves = [*learner.encoder.parameters(), w]
    for mine, reference in zip(torch.autograd.grad(terms["jepa"].loss, leaves), torch.autograd.grad(loss, leaves), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-3, atol=1e-4)


def test_y_same_looks_no_step_ahead(make: Any) -> None:
    with pytest.raises(RecipeError, match=r"`same` looks no step ahead: it needs `horizon: 1`"):
        make("jepa={y: same, horizon: 2}")

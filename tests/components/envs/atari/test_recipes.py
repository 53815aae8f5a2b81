"""The recipes of published agents: L_JEPA as in the paper's equation, and that the parts fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.envs.atari.env import AtariEnv
from jepakit.machine.hardware import Hardware
from jepakit.protocols import ACTION, MASK, PIXELS, REWARD, Minibatch
from jepakit.recipe import load_recipe
from jepakit.training.build import build_learner
from jepakit.training.learner import Learner
from jepakit.training.rehearsal import rehearse

ROWS, HORIZON, LAMBDA = 4, 5, 2.0
HARDWARE = Hardware("cpu", "fp32", threads=1)


@pytest.fixture(scope="module")
def env() -> Iterator[AtariEnv]:
    pytest.importorskip("ale_py", reason="the extra `atari` is not installed")
    made = AtariEnv(0, game="Pong", num_envs=1)
    yield made
    made.close()


def build(name: str, env: AtariEnv) -> Learner:
    return build_learner(load_recipe(name, {"augmentations": []}), env, HARDWARE)


def make_minibatch(horizon: int) -> Minibatch:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (ROWS, horizon + 1, 4, 1, 84, 84), dtype=torch.uint8)
    action = torch.randint(6, (ROWS, horizon + 1))
    window = {PIXELS: pixels, ACTION: action, REWARD: torch.zeros(ROWS, horizon + 1, 1)}
    ended = torch.zeros(ROWS, 1, dtype=torch.bool)
    after = {PIXELS: pixels[:, 1], REWARD: torch.randn(ROWS, 1), "terminated": ended, "done": ended}
    steps = {ACTION: action[:, 0], "next": after, "steps_to_next_obs": torch.full((ROWS, 1), 10)}
    inside = torch.ones(ROWS, horizon + 1, dtype=torch.bool)
    return Minibatch(TensorDict(window | {MASK: inside}, [ROWS, horizon + 1]), TensorDict(steps, [ROWS]))


def latent(convolutions: nn.Module, stacks: Tensor) -> Tensor:
    """SPR's z: the convolutions' output, between 0 and 1."""
    maps = convolutions(stacks[:, :, 0] / 255)
    least, most = maps.amin(dim=(1, 2, 3), keepdim=True), maps.amax(dim=(1, 2, 3), keepdim=True)
    return (maps - least) / (most - least)


def transition(net: Any, z: Tensor, action: Tensor) -> Tensor:
    planes = F.one_hot(action, 6).float()[:, :, None, None] * torch.ones(7, 7)
    h = F.relu(F.conv2d(torch.cat((z, planes), dim=1), net[0].weight, net[0].bias, padding=1))
    h = F.batch_norm(h, None, None, net[2].weight, net[2].bias, training=True)
    out = F.relu(F.conv2d(h, net[3].weight, net[3].bias, padding=1))
    least, most = out.amin(dim=(1, 2, 3), keepdim=True), out.amax(dim=(1, 2, 3), keepdim=True)
    return (out - least) / (most - least)


def test_sprs_term_is_lambda_times_the_papers_loss(env: AtariEnv) -> None:
    learner, minibatch = build("atari/spr", env), make_minibatch(HORIZON)
    encoder: Any = learner.encoder
    jepa: Any = learner.jepa
    g, q = jepa.projector.projector.project, jepa.projector.head.project
    pixels, action = minibatch.window[PIXELS], minibatch.window[ACTION]
    z, loss = latent(encoder.convolutions, pixels[:, 0]), torch.zeros(())
    for k in range(1, HORIZON + 1):
        z = transition(jepa.predictor.net, z, action[:, k - 1])
        y_hat, y = q(g(z.flatten(1))), g(latent(encoder.convolutions, pixels[:, k]).flatten(1)).detach()
        for b in range(ROWS):
            loss = loss - (y_hat[b] / y_hat[b].norm()) @ (y[b] / y[b].norm()) / ROWS
    term = learner.losses(minibatch)[0]["jepa"]
    trained = [*encoder.parameters(), *g.parameters(), *q.parameters(), *jepa.predictor.parameters()]
    torch.testing.assert_close(term.weight * term.loss, LAMBDA * (loss + HORIZON))  # cos is 1 where the loss is 0
    mine, papers = (torch.autograd.grad(each, trained) for each in (term.weight * term.loss, LAMBDA * loss))
    for got, wanted in zip(mine, papers, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-5)


def test_curls_term_tells_each_view_of_a_stack_from_those_of_the_others(env: AtariEnv) -> None:
    learner, minibatch = build("atari/curl_der", env), make_minibatch(horizon=1)
    encoder: Any = learner.encoder
    jepa: Any = learner.jepa
    x = minibatch.window[PIXELS][:, 0]
    with torch.no_grad():
        for parameter in jepa.target.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
        query, key = jepa.projector(encoder(x)), jepa.target.encoder.projector(jepa.target.encoder.encoder(x))
        logits = query @ jepa.objective.bilinear.weight @ key.T  # q W k, [M, M]
    loss = -sum(logits[m, m] - logits[m].exp().sum().log() for m in range(ROWS)) / ROWS
    torch.testing.assert_close(learner.losses(minibatch)[0]["jepa"].loss, loss)


@pytest.mark.parametrize("name", ["atari/spr", "atari/curl_der"])
def test_its_parts_fit_together(env: AtariEnv, name: str) -> None:
    learner = rehearse(load_recipe(name, {"replay.capacity": 1000}), env, HARDWARE).learner
    assert learner.updates == 1

"""Noisy layers are compared with their equations. The heads of dqn that use them draw noise only where they should."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torchrl.data import Categorical
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.components.algorithms.dqn import DQN
from jepakit.components.algorithms.noisy import NoisyLinear
from jepakit.protocols import ACTION, S_X
from jepakit.testing import check_component

WIDTH, ACTIONS, ROWS = 5, 3, 12
GREEDY = (ExplorationType.MODE, ExplorationType.DETERMINISTIC, ExplorationType.MEAN)
HEADS: list[dict[str, Any]] = [{}, {"double": False}, {"dueling": True}, {"distributional": True, "dueling": True, "atoms": 11}]


def make(**fields: Any) -> DQN:
    torch.manual_seed(0)
    quiet = {"epsilon_start": 0.0, "epsilon_end": 0.0, "noisy_std": 0.5, "hidden": (16,)}
    return DQN(WIDTH, Categorical(ACTIONS), nn.Linear(2, WIDTH), **quiet | fields)


def make_minibatch() -> TensorDict:
    ended = torch.rand(ROWS, 1) < 0.3
    after = {S_X: torch.randn(ROWS, WIDTH), "reward": torch.randn(ROWS, 1), "terminated": ended, "done": ended}
    steps = {S_X: torch.randn(ROWS, WIDTH), ACTION: torch.randint(ACTIONS, (ROWS,)), "next": after}
    return TensorDict(steps | {"steps_to_next_obs": torch.ones(ROWS, 1, dtype=torch.int64)}, batch_size=[ROWS])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """A list to which every call of ``torch.randn`` adds its result."""
    record: list[Tensor] = []
    draw = torch.randn

    def randn(*size: Any, **options: Any) -> Tensor:
        record.append(draw(*size, **options))
        return record[-1]

    monkeypatch.setattr(torch, "randn", randn)
    return record


def test_the_output_matches_the_papers_equations(drawn: list[Tensor]) -> None:
    torch.manual_seed(0)
    layer = NoisyLinear(4, 3, std=0.7)
    x = torch.rand(6, 4)
    mu_w, mu_b, sigma_w, sigma_b = (getattr(layer, name).tolist() for name in ("weight", "bias", "weight_sigma", "bias_sigma"))
    y = layer(x).tolist()
    (z,) = drawn
    f = [math.copysign(math.sqrt(abs(each)), each) for each in z.tolist()]
    eps_in, eps_out = f[:4], f[4:]
    for b in range(6):
        for j in range(3):
            weights = [mu_w[j][i] + sigma_w[j][i] * eps_out[j] * eps_in[i] for i in range(4)]
            expected = sum(weights[i] * x[b, i].item() for i in range(4)) + mu_b[j] + sigma_b[j] * eps_out[j]
            assert y[b][j] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_initial_values_match_the_paper() -> None:
    torch.manual_seed(0)
    layer = NoisyLinear(400, 100, std=0.3)
    for mu, sigma in ((layer.weight, layer.weight_sigma), (layer.bias, layer.bias_sigma)):
        assert mu.abs().max() < 1 / 20 + 1e-6
        assert mu.var().item() == pytest.approx((1 / 20) ** 2 / 3, rel=0.3)
        assert torch.equal(sigma, torch.full_like(sigma, 0.3 / 20))


def test_noise_has_zero_mean_and_is_shared_by_all_rows() -> None:
    torch.manual_seed(0)
    layer, x = NoisyLinear(4, 3, std=1.0), torch.rand(1, 4)
    outputs = torch.stack([layer(x.expand(2, 4)) for _ in range(4000)])
    assert torch.equal(outputs[:, 0], outputs[:, 1])
    with set_exploration_type(ExplorationType.MODE):
        mean = layer(x)
    torch.testing.assert_close(mean, x @ layer.weight.T + layer.bias)
    torch.testing.assert_close(outputs.mean(dim=0)[:1], mean, atol=0.05, rtol=0)
    assert outputs.var(dim=0).min() > 0.01


def test_a_bias_is_optional() -> None:
    layer = NoisyLinear(4, 3, bias=False)
    assert {name for name, _ in layer.named_parameters()} == {"weight", "weight_sigma"}
    assert layer(torch.zeros(1, 4)).count_nonzero() == 0


@pytest.mark.parametrize("fields", HEADS)
def test_every_call_of_the_online_or_target_head_draws_new_noise(fields: dict[str, Any], drawn: list[Tensor]) -> None:
    dqn, minibatch = make(**fields), make_minibatch()
    drawn.clear()
    dqn.losses(minibatch)
    layers = 4 if fields.get("dueling") else 2
    assert len(drawn) == layers * (3 if fields.get("double", True) else 2)  # Q, Q̄ and, if double, the choice of a'
    assert len({tuple(each.tolist()) for each in drawn}) == len(drawn)


@pytest.mark.parametrize("mode", [None, *GREEDY])
def test_losses_are_noisy_under_every_exploration_type(mode: ExplorationType | None) -> None:
    dqn, minibatch = make(), make_minibatch()
    with set_exploration_type(mode):
        once, again = (dqn.losses(minibatch)[0]["critic"].loss for _ in range(2))
    assert once != again


@pytest.mark.parametrize("fields", HEADS)
def test_exploration_relies_on_noise_and_greedy_acting_uses_none(fields: dict[str, Any]) -> None:
    dqn = make(**fields, noisy_std=3.0)
    head, s_x = dqn.policy_head(), TensorDict({S_X: torch.randn(200, WIDTH)}, [200])

    def act() -> Tensor:
        return head(s_x.clone())[ACTION]

    for explores in (None, ExplorationType.RANDOM):
        with set_exploration_type(explores):
            assert not torch.equal(act(), act())
    plain = make(**fields, noisy_std=None)
    plain.load_state_dict(dqn.state_dict(), strict=False)  # loads only the means
    for mode in GREEDY[:2]:
        with set_exploration_type(mode):
            before = torch.get_rng_state()
            greedy = act()
            assert torch.equal(greedy, act())
            assert torch.equal(greedy, plain.policy_head()(s_x.clone())[ACTION])
            assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("fields", HEADS)
def test_means_and_deviations_are_trained_and_tracked_by_the_target(fields: dict[str, Any]) -> None:
    dqn, minibatch = make(**fields, target_decay=0.5), make_minibatch()
    dqn.losses(minibatch)[0]["critic"].loss.backward()
    trained = [(name, p) for name, p in dqn.named_parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.any() for _, p in trained)
    assert sum("sigma" in name for name, _ in trained) == len(trained) // 2
    before = {name: tensor.clone() for name, tensor in dqn.state_dict().items()}
    with torch.no_grad():
        for _, p in trained:
            p.add_(torch.randn_like(p))
    dqn.updated(dqn.bootstrap_encoder)
    for name, p in trained:
        target = name.replace("loss.value_", "loss.target_value_")
        torch.testing.assert_close(dqn.state_dict()[target], 0.5 * before[target] + 0.5 * p.detach())


def test_noise_is_not_part_of_the_state() -> None:
    dqn, minibatch = make(), make_minibatch()
    twin = copy.deepcopy(dqn)
    assert not [name for name in dqn.state_dict() if "eps" in name and "explore" not in name]
    for _ in range(3):
        dqn.losses(minibatch)  # draws noise that the twin does not draw
    losses = []
    for each in (dqn, twin):
        torch.manual_seed(1)
        losses.append(each.losses(minibatch)[0]["critic"].loss)
    assert torch.equal(*losses)


def test_heads_without_noise_draw_nothing(drawn: list[Tensor]) -> None:
    dqn, minibatch = make(noisy_std=None), make_minibatch()
    drawn.clear()
    dqn.losses(minibatch)
    assert not drawn
    assert not [name for name in dqn.state_dict() if "sigma" in name]


@pytest.mark.parametrize("fields", [{}, {"distributional": True, "dueling": True}])
def test_noisy_heads_follow_the_rules_of_the_slot(fields: dict[str, Any]) -> None:
    check_component("algorithm", "dqn", noisy_std=0.5, frame_shapes=[(2, 1, 12, 12)], **fields)

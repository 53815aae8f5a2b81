import math
from typing import Any

import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torch.nn import functional as F
from torchrl.data import Bounded, Categorical, TensorSpec, Unbounded
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.components.algorithms.sac import SAC
from jepakit.protocols import ACTION, S_X, VIEWS

WIDTH, ROWS = 6, 24
LOW, HIGH = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 0.5])
SPECS: dict[str, TensorSpec] = {"discrete": Categorical(3), "continuous": Bounded(LOW, HIGH)}


def make(actions: str, seed: int = 0, **fields: Any) -> SAC:
    """SAC whose head weights are of order 1. The critics differ from each other and from their targets."""
    torch.manual_seed(seed)
    sac = SAC(WIDTH, SPECS[actions], nn.Linear(2, WIDTH), **{"hidden": (16,), "gamma": 0.8} | fields)
    with torch.no_grad():
        for name, parameter in sac.loss.named_parameters():
            if name != "log_alpha":
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return sac


def make_minibatch(actions: str) -> TensorDict:
    terminated, truncated = torch.rand(ROWS, 1) < 0.3, torch.rand(ROWS, 1) < 0.3
    after = {S_X: torch.randn(ROWS, WIDTH), "reward": torch.randn(ROWS, 1) * 2, "terminated": terminated}
    return TensorDict(
        {
            S_X: torch.randn(ROWS, WIDTH, requires_grad=True),
            ACTION: SPECS[actions].rand((ROWS,)),
            "steps_to_next_obs": torch.randint(1, 4, (ROWS, 1)),
            "next": after | {"done": terminated | truncated},
        },
        batch_size=[ROWS],
    )


def weights(sac: SAC, which: str) -> list[Tensor]:
    """Parameters of "actor", "qvalue" or "target_qvalue", layer by layer. Those of the two critics are stacked, [2, ...]."""
    state = sac.state_dict(keep_vars=True)
    return [tensor for name, tensor in state.items() if f"loss.{which}_network_params" in name]


def mlp(tensors: list[Tensor], x: Tensor) -> Tensor:
    w0, b0, w1, b1 = tensors
    return torch.relu(x @ w0.T + b0) @ w1.T + b1


def critics(sac: SAC, which: str, s_x: Tensor, action: Tensor | None = None) -> list[Tensor]:
    """Values from both critics, each [B, n] for discrete actions and [B] for a given continuous ``action``."""
    x = s_x if action is None else torch.cat((s_x, action), dim=-1)
    both = [mlp([tensor[i] for tensor in weights(sac, which)], x) for i in range(2)]
    return both if action is None else [q.squeeze(-1) for q in both]


def gaussian(sac: SAC, s_x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the action before tanh, both [B, A]."""
    mean, raw = mlp(weights(sac, "actor"), s_x).chunk(2, dim=-1)
    return mean, 0.01 + F.softplus(raw + math.log(math.exp(0.99) - 1))  # 1 where raw is 0


def sample(sac: SAC, s_x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """An action in [-1, 1] and its log-density."""
    mean, std = gaussian(sac, s_x)
    action = torch.tanh(mean + std * noise)
    density = -(noise**2) / 2 - std.log() - math.log(2 * math.pi) / 2
    return action, (density - (1 - action**2).log()).sum(dim=-1)


def soft_value(sac: SAC, s_x: Tensor, noise: Tensor | None) -> Tensor:
    """Target value V̄ of each row [B]: exact for discrete actions, from one sample for continuous ones."""
    alpha = sac.loss.log_alpha.exp().item()
    if noise is None:
        pi = mlp(weights(sac, "actor"), s_x).softmax(dim=-1)
        q = torch.minimum(*critics(sac, "target_qvalue", s_x))
        return sum(pi[:, a] * (q[:, a] - alpha * pi[:, a].log()) for a in range(3))
    action, log_p = sample(sac, s_x, noise)
    return torch.minimum(*critics(sac, "target_qvalue", s_x, action)) - alpha * log_p


def taken_values(sac: SAC, s_x: Tensor, action: Tensor) -> list[Tensor]:
    """Qᵢ(s, a) of each row [B] for the stored ``action``, from both critics."""
    if action.is_floating_point():
        return critics(sac, "qvalue", s_x, (action - LOW) / (HIGH - LOW) * 2 - 1)
    return [q[torch.arange(ROWS), action] for q in critics(sac, "qvalue", s_x)]


def reference(sac: SAC, minibatch: TensorDictBase, target_entropy: float, noise: list[Tensor] | None) -> tuple[dict[str, Tensor], Tensor]:
    """The three losses and the TD error of each row."""
    s_x, after, alpha = minibatch[S_X], minibatch["next"], sac.loss.log_alpha.exp().item()
    still = s_x.detach()
    value, taken = soft_value(sac, after[S_X], noise and noise[0]), taken_values(sac, s_x, minibatch[ACTION])
    if noise is None:
        pi = mlp(weights(sac, "actor"), still).softmax(dim=-1)
        q = torch.minimum(*critics(sac, "qvalue", still)).detach()
        actor = sum(pi[:, a] * (alpha * pi[:, a].log() - q[:, a]) for a in range(3))
        log_p = (pi * pi.log()).sum(dim=-1)
    else:
        action, log_p = sample(sac, still, noise[1])
        actor = alpha * log_p - torch.minimum(*critics(sac, "qvalue", still, action))
    aim = []
    for b in range(ROWS):
        bootstrap = 0.0 if after["terminated"][b] else 0.8 ** minibatch["steps_to_next_obs"][b].item() * value[b].item()
        aim.append(0.5 * after["reward"][b].item() + bootstrap)
    errors = [q - torch.tensor(aim) for q in taken]
    alpha_loss = -sac.loss.log_alpha * (log_p.detach() + target_entropy)
    losses = {"actor": actor, "critic": sum(error**2 for error in errors), "alpha": alpha_loss}
    return losses, torch.maximum(*(error.detach().abs() for error in errors))


#: The parts that each loss trains.
REACHED = {"actor": {"actor"}, "critic": {"qvalue", S_X}, "alpha": {"alpha"}}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("actions", "target_entropy"), [("discrete", 0.3 * math.log(3)), ("discrete", 0.7), ("continuous", -2.0)])
def test_losses_gradients_and_td_error_match_the_papers(actions: str, target_entropy: float, weighted: bool) -> None:
    given = {"target_entropy": 0.7} if target_entropy == 0.7 else {}
    sac = make(actions, reward_scale=0.5, initial_alpha=0.4, **given)
    minibatch = make_minibatch(actions)
    weight = torch.rand(ROWS) if weighted else torch.ones(ROWS)
    if weighted:
        minibatch["priority_weight"] = weight

    torch.manual_seed(1)
    terms, figures = sac.losses(minibatch)

    torch.manual_seed(1)
    noise = [torch.randn(ROWS, 2) for _ in range(2)] if actions == "continuous" else None
    rows, error = reference(sac, minibatch, target_entropy, noise)
    assert {name: term.weight for name, term in terms.items()} == {"actor": 1.0, "critic": 0.5, "alpha": 1.0}
    torch.testing.assert_close(minibatch["td_error"], error, rtol=1e-4, atol=1e-5)
    assert not minibatch["td_error"].requires_grad
    groups = {name: weights(sac, name) for name in ("actor", "qvalue")} | {"alpha": [sac.loss.log_alpha], S_X: [minibatch[S_X]]}
    for name, losses in rows.items():
        loss = sum(weight[b] * losses[b] for b in range(ROWS)) / ROWS
        torch.testing.assert_close(terms[name].loss, loss, rtol=1e-4, atol=1e-5)
        for group, leaves in groups.items():
            mine = torch.autograd.grad(terms[name].loss, leaves, allow_unused=True, retain_graph=True)
            if group not in REACHED[name]:
                assert all(gradient is None for gradient in mine), (name, group)
                continue
            for got, want in zip(mine, torch.autograd.grad(loss, leaves, retain_graph=True), strict=True):
                torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)
    assert figures["sac/alpha"].item() == pytest.approx(0.4)
    log_p = -rows["alpha"].detach() / sac.loss.log_alpha.detach() - target_entropy
    torch.testing.assert_close(figures["sac/entropy"], -log_p.mean(), rtol=1e-4, atol=1e-5)
    assert not figures["sac/alpha"].requires_grad


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("actions", SPECS)
def test_the_target_averages_k_views_and_the_critic_loss_averages_m(actions: str, weighted: bool) -> None:
    """The reference computes DrQ's Eqs. 1 and 3 view by view."""
    sac = make(actions, reward_scale=0.5, views=3, next_views=2)
    minibatch = make_minibatch(actions)
    weight = torch.rand(ROWS) if weighted else torch.ones(ROWS)
    if weighted:
        minibatch["priority_weight"] = weight
    seen, after = torch.randn(ROWS, 3, WIDTH, requires_grad=True), torch.randn(ROWS, 2, WIDTH)
    minibatch[VIEWS], minibatch[S_X] = seen, seen[:, 0]
    minibatch["next", VIEWS], minibatch["next", S_X] = after, after[:, 0]

    torch.manual_seed(1)
    terms, _ = sac.losses(minibatch)

    torch.manual_seed(1)
    noise = [torch.randn(ROWS, 2) if actions == "continuous" else None for _ in range(3)]  # for a' in each view of s', then for the actor
    aim = torch.zeros(ROWS)
    for k in range(2):
        value = soft_value(sac, after[:, k], noise[k]).detach()
        for b in range(ROWS):
            bootstrap = 0.0 if minibatch["next", "terminated"][b] else 0.8 ** minibatch["steps_to_next_obs"][b].item() * value[b].item()
            aim[b] += (0.5 * minibatch["next", "reward"][b].item() + bootstrap) / 2
    errors = [[q - aim for q in taken_values(sac, seen[:, m], minibatch[ACTION])] for m in range(3)]
    loss = sum(weight @ error**2 / ROWS for both in errors for error in both) / 3
    torch.testing.assert_close(terms["critic"].loss, loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(minibatch["td_error"], sum(torch.maximum(*map(abs, both)).detach() for both in errors) / 3)
    for got, want in zip(
        torch.autograd.grad(terms["critic"].loss, [seen, *weights(sac, "qvalue")], retain_graph=True),
        torch.autograd.grad(loss, [seen, *weights(sac, "qvalue")]),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)

    rows, _ = reference(sac, minibatch, sac.loss.target_entropy.item(), noise[1:] if actions == "continuous" else None)
    for name in ("actor", "alpha"):  # from the first view only
        torch.testing.assert_close(terms[name].loss, weight @ rows[name] / ROWS, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("actions", SPECS)
def test_a_delayed_actor_and_its_adam_state_are_unchanged_between_its_updates(actions: str) -> None:
    sac = make(actions, actor_every=3)
    delayed = [*weights(sac, "actor"), sac.loss.log_alpha]
    others = [parameter for parameter in sac.parameters() if parameter.requires_grad and not any(parameter is each for each in delayed)]
    optimizer = torch.optim.Adam(sac.parameters(), lr=1e-2, fused=True)

    def now(parameters: list[Tensor]) -> list[Tensor]:
        return [each.detach().clone() for p in parameters for each in (p, *optimizer.state.get(p, {}).values())]

    for update in range(7):
        before = now(delayed), now(others)
        terms, figures = sac.losses(make_minibatch(actions))
        optimizer.zero_grad()
        sum(term.weight * term.loss for term in terms.values()).backward()
        optimizer.step()
        sac.updated(nn.Linear(2, WIDTH))
        after = now(delayed), now(others)
        rests = [len(b) == len(a) and all(map(torch.equal, b, a)) for b, a in zip(before, after, strict=True)]
        assert rests == [update % 3 != 0, False]
        assert set(terms) == ({"critic"} if rests[0] else {"actor", "critic", "alpha"})
        assert ("sac/entropy" in figures) == (not rests[0])


def test_the_critics_start_different_and_their_targets_start_as_copies() -> None:
    torch.manual_seed(0)
    sac = SAC(WIDTH, SPECS["discrete"], nn.Identity())
    for online, target in zip(weights(sac, "qvalue"), weights(sac, "target_qvalue"), strict=True):
        assert torch.equal(online, target)
        assert not torch.equal(online[0], online[1])


def test_discrete_actions_are_sampled_or_greedy() -> None:
    sac = make("discrete")
    s_x = TensorDict({S_X: torch.randn(1, WIDTH).expand(6000, WIDTH)}, batch_size=[6000])
    pi = mlp(weights(sac, "actor"), s_x[S_X][0]).softmax(dim=-1)
    acted = sac.policy_head()(s_x.clone())
    assert set(acted.keys()) == {S_X, ACTION}
    torch.testing.assert_close(torch.bincount(acted[ACTION], minlength=3) / 6000, pi.detach(), atol=0.03, rtol=0)
    for mode in (ExplorationType.MODE, ExplorationType.DETERMINISTIC):
        with set_exploration_type(mode):
            assert (sac.policy_head()(s_x.clone())[ACTION] == pi.argmax()).all()


def test_continuous_actions_are_squashed_samples_within_bounds() -> None:
    sac = make("continuous")
    s_x = TensorDict({S_X: torch.randn(1, WIDTH).expand(6000, WIDTH)}, batch_size=[6000])
    mean, std = gaussian(sac, s_x[S_X][0])
    acted = sac.policy_head()(s_x.clone())
    assert set(acted.keys()) == {S_X, ACTION}
    u = torch.atanh((acted[ACTION] - LOW) / (HIGH - LOW) * 2 - 1)
    torch.testing.assert_close(u.median(dim=0).values, mean.detach(), atol=0.1, rtol=0)
    torch.testing.assert_close((u - mean).abs().median(dim=0).values, 0.6745 * std.detach(), atol=0.1, rtol=0)
    for mode in (ExplorationType.MODE, ExplorationType.DETERMINISTIC):
        with set_exploration_type(mode):
            greedy = sac.policy_head()(s_x.clone())[ACTION]
        torch.testing.assert_close(greedy, (LOW + (HIGH - LOW) * (1 + torch.tanh(mean)) / 2).expand(6000, 2))


@pytest.mark.parametrize("bias", [50.0, -50.0])
def test_saturated_actions_stay_within_bounds_and_losses_stay_finite(bias: float) -> None:
    sac = make("continuous")
    with torch.no_grad():
        weights(sac, "actor")[-1][:2] = bias
    minibatch = make_minibatch("continuous")
    acted = sac.policy_head()(TensorDict({S_X: minibatch[S_X]}, batch_size=[ROWS]))[ACTION].detach()
    assert (acted >= LOW).all()
    assert (acted <= HIGH).all()
    torch.testing.assert_close(acted, (HIGH if bias > 0 else LOW).expand(ROWS, 2), atol=1e-4, rtol=0)

    minibatch[ACTION] = acted
    sum(term.loss for term in sac.losses(minibatch)[0].values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in sac.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("actions", SPECS)
def test_a_contextual_bandit_is_learned(actions: str) -> None:
    torch.manual_seed(0)
    sac = SAC(WIDTH, SPECS[actions], nn.Identity(), hidden=(32,))
    optimizer = torch.optim.Adam(sac.parameters(), lr=2e-2)
    ended, gains = torch.ones(64, 1, dtype=torch.bool), []
    for _ in range(60):
        s_x = torch.randn(64, WIDTH)
        action = sac.policy_head()(TensorDict({S_X: s_x}, batch_size=[64]))[ACTION].detach()
        if actions == "discrete":
            reward = (action == s_x[:, :3].argmax(dim=-1)).float()[:, None]
        else:
            reward = 1 - (action[:, :1] - s_x[:, :1].clamp(-1, 1)).abs()
        after = {S_X: s_x, "reward": reward, "terminated": ended, "done": ended}
        steps = {S_X: s_x, ACTION: action, "steps_to_next_obs": torch.ones(64, 1, dtype=torch.int64), "next": after}
        terms, _ = sac.losses(TensorDict(steps, batch_size=[64]))
        optimizer.zero_grad()
        sum(term.weight * term.loss for term in terms.values()).backward()
        optimizer.step()
        sac.updated(nn.Identity())
        gains.append(reward.mean().item())
    assert sum(gains[-10:]) > sum(gains[:10]) + 2, gains


@pytest.mark.parametrize("spec", [Unbounded((2,)), Bounded(0, 5, (2,), dtype=torch.int64)])
def test_unsupported_actions_are_refused(spec: TensorSpec) -> None:
    with pytest.raises(ValueError, match=r"^actions must be discrete or bounded real numbers; this env's are .* of torch\.(float32|int64)"):
        SAC(WIDTH, spec, nn.Identity())


@pytest.mark.parametrize("actions", SPECS)
def test_for_diagnostics_it_shows_the_smaller_value_its_target_and_its_policy(actions: str) -> None:
    sac = make(actions, reward_scale=0.5)
    minibatch = make_minibatch(actions)
    with torch.no_grad():
        torch.manual_seed(3)
        values, targets = sac.values_and_targets(minibatch)
        both = taken_values(sac, minibatch[S_X], minibatch[ACTION])
        torch.manual_seed(3)
        sac.losses(minibatch)
        figures = sac.policy_figures(minibatch)
    torch.testing.assert_close(values, torch.minimum(*both), rtol=1e-3, atol=1e-4)
    errors = torch.stack([(targets - each).abs() for each in both])
    torch.testing.assert_close(errors.max(dim=0).values, minibatch["td_error"], rtol=1e-3, atol=1e-3)
    assert figures["alpha"].item() == pytest.approx(0.1)
    if actions == "discrete":
        pi = mlp(weights(sac, "actor"), minibatch[S_X]).softmax(dim=-1)
        assert figures["entropy"].item() == pytest.approx(-(pi * pi.log()).sum(dim=-1).mean().item(), rel=1e-4)
    else:
        draws = [sample(sac, minibatch[S_X], torch.randn(ROWS, 2))[1].mean().item() for _ in range(200)]
        assert figures["entropy"].item() == pytest.approx(-sum(draws) / 200, abs=1.0)


def test_the_entropy_of_a_policy_at_its_bounds_is_that_of_its_loss() -> None:
    """Where tanh rounds to 1, no Gaussian sample can be told from the action."""
    sac = make("continuous")
    minibatch = make_minibatch("continuous")
    minibatch[S_X] = minibatch[S_X] * 1e3
    with torch.no_grad():
        found = sum(sac.policy_figures(minibatch)["entropy"].item() for _ in range(200)) / 200
        policy = sac.loss.actor_network.get_dist(minibatch.select(S_X))
        u = policy.loc.double() + policy.scale.double() * torch.randn(200, *policy.loc.shape, dtype=torch.float64)
    slope = 2 * (math.log(2) - u - torch.nn.functional.softplus(-2 * u))  # the logarithm of 1 - tanh²
    entropy = (0.5 + 0.5 * math.log(2 * math.pi) + policy.scale.log() + slope).sum(dim=-1).mean().item()
    assert found == pytest.approx(entropy, rel=0.05)
    assert found < -100

"""The algorithms ppo, a2c and reinforce with discrete and continuous actions. Discrete ppo is tested in test_ppo.py."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.nn import functional as F
from torchrl.data import Bounded, Categorical, TensorSpec, Unbounded
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.agent.evaluate import evaluate
from jepakit.components.algorithms.a2c import A2C
from jepakit.components.algorithms.actor_critic import Unsquashed
from jepakit.components.algorithms.ppo import PPO
from jepakit.components.algorithms.reinforce import Reinforce
from jepakit.protocols import ACTION, PIXELS, S_X, OnPolicyAlgorithm
from jepakit.training.run import run

WIDTH = 8
LOW, HIGH = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 0.5])
SPECS: dict[str, TensorSpec] = {"discrete": Categorical(3), "continuous": Bounded(LOW, HIGH)}
KINDS = {"ppo": PPO, "a2c": A2C, "reinforce": Reinforce}


def make(kind: str, actions: str, **fields: Any) -> Any:
    """An algorithm whose heads have weights of order 1."""
    torch.manual_seed(0)
    algorithm = KINDS[kind](WIDTH, SPECS[actions], **fields)
    shake(algorithm, 0.3)
    return algorithm


@torch.no_grad()
def shake(algorithm: torch.nn.Module, size: float) -> None:
    for parameter in algorithm.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=size)


def act(algorithm: OnPolicyAlgorithm, s_x: Tensor) -> TensorDictBase:
    with torch.no_grad():
        return algorithm.policy_head()(TensorDict({S_X: s_x}, batch_size=s_x.shape[:-1]))


def tanh_mlp(algorithm: Any, head: str, s_x: Tensor) -> Tensor:
    """Apply the actor or the critic to ``s_x``, layer by layer."""
    linears = [layer for layer in getattr(algorithm, head).modules() if isinstance(layer, torch.nn.Linear)]
    for linear in linears[:-1]:
        s_x = torch.tanh(s_x @ linear.weight.T + linear.bias)
    return s_x @ linears[-1].weight.T + linears[-1].bias


def gaussian(algorithm: Any, s_x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [B, A] and standard deviation [A] of u, the action before tanh."""
    (log_std,) = (parameter for name, parameter in algorithm.actor.named_parameters() if "scale" in name)
    return tanh_mlp(algorithm, "actor", s_x), log_std.exp()


def log_prob(algorithm: Any, minibatch: TensorDictBase) -> Tensor:
    """Log-probability [B] of the sampled action, taken before tanh if it is continuous."""
    if "unsquashed_action" not in minibatch:
        log_p = F.log_softmax(tanh_mlp(algorithm, "actor", minibatch[S_X]), dim=-1)
        return log_p.gather(1, minibatch[ACTION][:, None]).squeeze(1)
    mean, std = gaussian(algorithm, minibatch[S_X])
    z = (minibatch["unsquashed_action"] - mean) / std
    return (-(z**2) / 2 - std.log() - math.log(2 * math.pi) / 2).sum(dim=1)


def entropy(algorithm: Any, s_x: Tensor, noise: Tensor) -> Tensor:
    """Entropy [B]: exact for discrete actions, estimated from one sample made with ``noise`` [B, A] for continuous ones."""
    if noise.shape[1] != 2:
        log_p = F.log_softmax(tanh_mlp(algorithm, "actor", s_x), dim=-1)
        return -(log_p.exp() * log_p).sum(dim=1)
    mean, std = gaussian(algorithm, s_x)
    slope = 1 - torch.tanh(mean + std * noise) ** 2
    return (math.log(2 * math.pi * math.e) / 2 + std.log() + slope.log()).sum(dim=1)


@pytest.mark.parametrize(
    ("kind", "actions"),
    [("a2c", "discrete"), ("reinforce", "discrete"), ("a2c", "continuous"), ("reinforce", "continuous"), ("ppo", "continuous")],
)
def test_losses_and_gradients_match_the_papers(kind: str, actions: str) -> None:
    fields = {"critic_weight": 0.7, "hidden": (16, 16)} | ({} if kind == "reinforce" else {"entropy_weight": 0.03})
    algorithm = make(kind, actions, **fields | ({"normalize_advantage": False} if kind == "ppo" else {}))
    minibatch = act(algorithm, torch.randn(32, WIDTH))
    shake(algorithm, 0.1)
    minibatch["advantage"] = torch.randn(32, 1) * 3 + 1
    minibatch["value_target"] = torch.randn(32, 1) * 3

    torch.manual_seed(1)
    terms, _ = algorithm.losses(minibatch)

    torch.manual_seed(1)
    noise = torch.randn(32, 2 if actions == "continuous" else 1)
    log_p, advantage = log_prob(algorithm, minibatch), minibatch["advantage"].squeeze(1)
    gain = log_p * advantage
    if kind == "ppo":
        ratio = (log_p - minibatch["sample_log_prob"]).exp()
        assert 0 < ((ratio - 1).abs() > 0.2).float().mean() < 1
        gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    value = tanh_mlp(algorithm, "critic", minibatch[S_X])
    expected = {"actor": (1.0, -gain.mean()), "critic": (0.7, (value - minibatch["value_target"]).square().mean())}
    if kind != "reinforce":
        expected["entropy"] = (0.03, -entropy(algorithm, minibatch[S_X], noise).mean())
    assert terms.keys() == expected.keys()
    parameters = [*algorithm.actor.parameters(), *algorithm.critic.parameters()]
    for name, (weight, loss) in expected.items():
        assert terms[name].weight == weight
        torch.testing.assert_close(terms[name].loss, loss, rtol=1e-4, atol=1e-5)
        mine = torch.autograd.grad(terms[name].loss, parameters, allow_unused=True, retain_graph=True)
        reference = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        for got, want in zip(mine, reference, strict=True):
            torch.testing.assert_close(0 if got is None else got, 0 if want is None else want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("kind", "fields"), [("a2c", {}), ("reinforce", {}), ("reinforce", {"baseline": False})])
def test_returns_end_with_the_episode_or_the_rollout(kind: str, fields: dict[str, bool]) -> None:
    algorithm = make(kind, "discrete", gamma=0.9, reward_scale=0.25, **fields)
    shape = (4, 12)
    rollout = act(algorithm, torch.randn(*shape, WIDTH))
    terminated, truncated = torch.rand(*shape, 1) < 0.15, torch.rand(*shape, 1) < 0.15
    after = {PIXELS: torch.randn(*shape, WIDTH), "reward": torch.randn(*shape, 1), "terminated": terminated, "done": terminated | truncated}
    rollout["next"] = TensorDict(after, batch_size=shape)
    rollout["next", PIXELS][:, :-1] = torch.where(after["done"][:, :-1], after[PIXELS][:, :-1], rollout[S_X][:, 1:])
    assert (truncated & ~terminated)[:, :-1].any()
    assert terminated[:, :-1].any()
    assert not (terminated | truncated)[:, -1].all()  # an episode continues past the rollout's end

    prepared = algorithm.prepare(rollout.clone(), embed=lambda pixels: pixels)  # the pixels serve as embeddings

    for n in range(shape[0]):
        for t in range(shape[1]):
            ret, discount = 0.0, 1.0
            for step in rollout[n, t:].unbind(0):
                end = step["next"]
                ret, discount = ret + discount * 0.25 * end["reward"].item(), discount * 0.9
                if end["done"]:
                    break
            if not end["terminated"]:
                ret += discount * tanh_mlp(algorithm, "critic", end[PIXELS]).item()
            baseline = tanh_mlp(algorithm, "critic", rollout[S_X][n, t]).item() if fields.get("baseline", True) else 0.0
            torch.testing.assert_close(prepared["value_target"][n, t].item(), ret, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(prepared["advantage"][n, t].item(), ret - baseline, rtol=1e-4, atol=1e-4)
    assert torch.equal(prepared["next", "reward"], after["reward"])


@pytest.mark.parametrize("kind", KINDS)
def test_continuous_actions_are_squashed_samples_of_the_policys_gaussian(kind: str) -> None:
    algorithm = make(kind, "continuous")
    s_x = torch.randn(1, WIDTH)
    acted = act(algorithm, s_x.expand(4000, WIDTH))

    u, (mean, std) = acted["unsquashed_action"], gaussian(algorithm, s_x)
    torch.testing.assert_close(u.mean(dim=0), mean[0], atol=0.1, rtol=0)
    torch.testing.assert_close(u.std(dim=0), std, atol=0.1, rtol=0)
    torch.testing.assert_close(acted["sample_log_prob"], log_prob(algorithm, acted))
    torch.testing.assert_close(acted[ACTION], LOW + (HIGH - LOW) / 2 * (1 + torch.tanh(u)))
    torch.testing.assert_close(acted["state_value"], tanh_mlp(algorithm, "critic", s_x).expand(4000, 1))


@pytest.mark.parametrize("bias", [100.0, -100.0])
def test_saturated_actions_stay_within_bounds_and_keep_their_log_prob(bias: float) -> None:
    ppo = make("ppo", "continuous")
    torch.nn.init.constant_([layer for layer in ppo.actor.modules() if isinstance(layer, torch.nn.Linear)][-1].bias, bias)
    acted = act(ppo, torch.randn(64, WIDTH))
    assert torch.equal(acted[ACTION], (HIGH if bias > 0 else LOW).expand(64, 2))

    acted["advantage"] = acted["value_target"] = torch.randn(64, 1)
    terms, figures = ppo.losses(acted)

    torch.testing.assert_close(figures["ppo/kl"], torch.tensor(0.0), atol=1e-5, rtol=0)
    assert figures["ppo/clip_fraction"] == 0
    sum(term.loss for term in terms.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in ppo.actor.parameters())


@pytest.mark.parametrize("mode", [ExplorationType.MODE, ExplorationType.DETERMINISTIC])
@pytest.mark.parametrize("kind", KINDS)
def test_the_greedy_policy_takes_the_gaussians_mean(kind: str, mode: ExplorationType) -> None:
    algorithm = make(kind, "continuous")
    s_x = torch.randn(16, WIDTH)
    with set_exploration_type(mode):
        action = act(algorithm, s_x)[ACTION]
    torch.testing.assert_close(action, LOW + (HIGH - LOW) / 2 * (1 + torch.tanh(gaussian(algorithm, s_x)[0])))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (1.0, 0.8), (-0.5, 3.0)])
def test_the_entropy_estimate_matches_the_squashed_gaussian(mean: float, std: float) -> None:
    torch.manual_seed(0)
    estimates = Unsquashed(torch.full((20_000, 1), mean), torch.full((20_000, 1), std)).entropy()

    u = torch.linspace(mean - 8 * std, mean + 8 * std, 100_001, dtype=torch.float64)
    density = torch.exp(-(((u - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))
    slope = 4 / (u.exp() + (-u).exp()) ** 2  # da/du of a = tanh(u)
    expected = -(density * (density / slope).log()).sum() * (u[1] - u[0])  # -∫ p(a) log p(a) da with p(a) = p(u) / slope
    torch.testing.assert_close(estimates.mean().item(), expected.item(), atol=0.03, rtol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_the_initial_policy_has_zero_mean_and_the_given_std(kind: str) -> None:
    torch.manual_seed(0)
    acted = act(KINDS[kind](WIDTH, SPECS["continuous"], initial_std=0.3), torch.randn(100, WIDTH))
    torch.testing.assert_close(acted["loc"], torch.zeros(100, 2), atol=0.05, rtol=0)
    torch.testing.assert_close(acted["scale"], torch.full((100, 2), 0.3))


@pytest.mark.parametrize("spec", [Unbounded((2,)), Bounded(0, 5, (2,), dtype=torch.int64)])
def test_unsupported_actions_are_refused(spec: TensorSpec) -> None:
    with pytest.raises(ValueError, match=r"^actions must be discrete or bounded real numbers; this env's are .* of torch\.(float32|int64)"):
        A2C(WIDTH, spec)


@pytest.mark.parametrize("actions", SPECS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_contextual_bandit_is_learned(kind: str, actions: str) -> None:
    torch.manual_seed(0)
    algorithm: Any = KINDS[kind](WIDTH, SPECS[actions])
    optimizer = torch.optim.Adam(algorithm.parameters(), lr=2e-2)
    means = []
    for _ in range(50):
        s_x = torch.randn(4, 16, WIDTH)
        rollout = act(algorithm, s_x)
        if actions == "discrete":
            reward = (rollout[ACTION] == s_x[..., :3].argmax(dim=-1)).float()[..., None]
        else:
            reward = -(rollout[ACTION][..., :1] - s_x[..., :1].clamp(-1, 1)).abs()
        ended = torch.ones(4, 16, 1, dtype=torch.bool)
        rollout["next"] = TensorDict({PIXELS: s_x, "reward": reward, "terminated": ended, "done": ended}, batch_size=[4, 16])
        terms, _ = algorithm.losses(algorithm.prepare(rollout, embed=lambda pixels: pixels).flatten())
        optimizer.zero_grad()
        sum(term.weight * term.loss for term in terms.values()).backward()
        optimizer.step()
        means.append(reward.mean().item())
    assert sum(means[-10:]) > sum(means[:10]) + 2, means


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_continuous_actions_is_trained_and_evaluated(kind: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"""
        name: continuous
        total_steps: 24
        env: {{kind: gym, id: Pendulum-v1, num_envs: 2, size: [8, 8], max_episode_steps: 5}}
        encoder: {{kind: vit, dim: 8, depth: 1, heads: 1, patch: 8}}
        jepa: {{target: {{kind: ema}}, predictor: {{kind: mlp}}, objective: {{kind: l2}}}}
        algorithm: {{kind: {kind}, rollout_steps: 12, minibatch_size: 12}}
        device: cpu
        threads: 1
    """)
    assert run(str(recipe), out=tmp_path / "out", quiet=True).summary["episodes"] == 4
    assert len(evaluate(tmp_path / "out", episodes=2)["greedy"]["returns"]) == 2


@pytest.mark.parametrize("actions", SPECS)
@pytest.mark.parametrize("kind", KINDS)
def test_for_diagnostics_the_policy_has_moved_by_what_its_log_probabilities_say(kind: str, actions: str) -> None:
    algorithm, s_x = make(kind, actions), torch.randn(400, WIDTH)
    steps = act(algorithm, s_x).set(S_X, s_x)
    with torch.no_grad():
        still = algorithm.policy_figures(steps)
        shake(algorithm, 0.05)
        moved = algorithm.policy_figures(steps)
        policy = algorithm.actor.get_dist(TensorDict({S_X: s_x}, batch_size=[400]))
        (sample,) = algorithm.actor.dist_sample_keys
        ratio = (policy.log_prob(steps[sample]) - steps["sample_log_prob"]).exp()
    assert still["kl"].item() == pytest.approx(0, abs=1e-6)
    assert moved["kl"].item() == pytest.approx((ratio - 1 - ratio.log()).mean().item(), rel=1e-4)
    assert moved["kl"] > 0
    if actions == "discrete":
        assert moved["entropy"].item() == pytest.approx(policy.entropy().mean().item(), rel=1e-5)
    if kind == "ppo":
        assert still["clip_fraction"] == 0
        assert moved["clip_fraction"].item() == pytest.approx(((ratio - 1).abs() > algorithm.clip).float().mean().item())
    steps["value_target"] = torch.randn(400, 1)
    values, targets = algorithm.values_and_targets(steps)
    torch.testing.assert_close((values, targets), (steps["state_value"][:, 0], steps["value_target"][:, 0]))

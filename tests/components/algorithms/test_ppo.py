from typing import Any

import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.nn import functional as F
from torchrl.data import Categorical

from jepakit.components.algorithms.a2c import A2C
from jepakit.components.algorithms.ppo import PPO
from jepakit.protocols import ACTION, PIXELS, S_X

WIDTH, ACTIONS = 8, 3


def make(**fields: Any) -> PPO:
    """PPO whose heads have weights of order 1."""
    torch.manual_seed(0)
    ppo = PPO(WIDTH, Categorical(ACTIONS), **fields)
    with torch.no_grad():
        for parameter in ppo.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return ppo


def acted_on(ppo: PPO, batch: int) -> TensorDictBase:
    """A minibatch as the learner passes it: a slightly older policy acted on ``s_x``."""
    minibatch = TensorDict({S_X: torch.randn(batch, WIDTH)}, batch_size=[batch])
    with torch.no_grad():
        ppo.policy_head()(minibatch)
        for parameter in ppo.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    minibatch["advantage"] = torch.randn(batch, 1) * 3 + 1
    minibatch["value_target"] = torch.randn(batch, 1) * 3
    return minibatch


def tanh_mlp(ppo: PPO, head: str, s_x: Tensor) -> Tensor:
    """Apply the actor or the critic to ``s_x``, layer by layer."""
    module = getattr(ppo, head)
    linears = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    for linear in linears[:-1]:
        s_x = torch.tanh(s_x @ linear.weight.T + linear.bias)
    return s_x @ linears[-1].weight.T + linears[-1].bias


@pytest.mark.parametrize("normalize_advantage", [True, False])
@pytest.mark.parametrize("clip", [0.05, 0.2])
def test_losses_and_gradients_match_the_papers(normalize_advantage: bool, clip: float) -> None:
    ppo = make(normalize_advantage=normalize_advantage, clip=clip, critic_weight=0.7, entropy_weight=0.03, hidden=(16, 16))
    minibatch = acted_on(ppo, batch=32)

    terms, figures = ppo.losses(minibatch)

    log_p = F.log_softmax(tanh_mlp(ppo, "actor", minibatch[S_X]), dim=-1)
    log_ratio = log_p.gather(1, minibatch[ACTION][:, None]).squeeze(1) - minibatch["sample_log_prob"]
    advantage = minibatch["advantage"].squeeze(1)
    if normalize_advantage:
        advantage = (advantage - advantage.mean()) / advantage.std()
    objective = [min(r * a, r.clamp(1 - clip, 1 + clip) * a) for r, a in zip(log_ratio.exp(), advantage, strict=True)]  # Eq. 7
    value = tanh_mlp(ppo, "critic", minibatch[S_X])
    expected = {
        "actor": (1.0, -sum(objective) / 32),
        "critic": (0.7, (value - minibatch["value_target"]).square().mean()),
        "entropy": (0.03, (log_p.exp() * log_p).sum(dim=1).mean()),  # the negative entropy, because entropy is maximised
    }
    assert terms.keys() == expected.keys()
    parameters = [*ppo.actor.parameters(), *ppo.critic.parameters()]
    for name, (weight, loss) in expected.items():
        assert terms[name].weight == weight
        torch.testing.assert_close(terms[name].loss, loss, rtol=1e-4, atol=1e-5)
        mine = torch.autograd.grad(terms[name].loss, parameters, allow_unused=True, retain_graph=True)
        reference = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        for got, want in zip(mine, reference, strict=True):
            torch.testing.assert_close(0 if got is None else got, 0 if want is None else want, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(figures["ppo/kl"], -log_ratio.mean(), rtol=1e-4, atol=1e-5)
    clipped = ((log_ratio.exp() - 1).abs() > clip).float().mean()
    assert 0 < clipped < 1
    torch.testing.assert_close(figures["ppo/clip_fraction"], clipped)


def test_gae_bootstraps_at_truncation_from_the_final_stack(make_learner: Any, collect: Any) -> None:
    gamma, lmbda, reward_scale = 0.9, 0.7, 0.25
    learner = make_learner(gamma=gamma, lmbda=lmbda, reward_scale=reward_scale)
    batch = collect(learner, num_envs=3, steps=16)
    terminated, truncated = batch["next", "terminated"].squeeze(-1), batch["next", "truncated"].squeeze(-1)
    assert terminated.any()
    assert (truncated & ~terminated).any()
    assert (truncated & terminated).any()
    assert not (terminated | truncated)[:, -1].all()  # an episode continues past the rollout's end

    prepared = learner.algorithm.prepare(batch.clone(), learner.embed)

    def value(stack: Tensor) -> float:
        return learner.algorithm.critic.module(learner.embed(stack)).item()

    for n in range(batch.shape[0]):
        following = 0.0
        for t in reversed(range(batch.shape[1])):
            step = batch[n, t]
            end, now = step["next"], value(step[PIXELS])
            after = 0.0 if end["terminated"] else value(end[PIXELS])
            delta = reward_scale * end["reward"].item() + gamma * after - now
            following = delta + gamma * lmbda * (0.0 if end["done"] else following)
            torch.testing.assert_close(prepared["advantage"][n, t].item(), following, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(prepared["value_target"][n, t].item(), following + now, rtol=1e-4, atol=1e-4)
    assert torch.equal(prepared["next", "reward"], batch["next", "reward"])


def test_only_bootstrap_stacks_missing_from_the_rollout_are_encoded_again(make_learner: Any, collect: Any) -> None:
    learner = make_learner()
    batch = collect(learner, num_envs=3, steps=16)
    encoded: list[Tensor] = []

    learner.algorithm.prepare(batch, lambda pixels: encoded.append(pixels) or learner.embed(pixels))

    terminated, truncated = batch["next", "terminated"].squeeze(-1), batch["next", "truncated"].squeeze(-1)
    last = torch.zeros_like(terminated)
    last[:, -1] = True
    assert len(torch.cat(encoded)) == ((truncated | last) & ~terminated).sum() < batch.numel() / 2


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.1)])
def test_the_ratio_is_1_on_the_first_minibatch(make_learner: Any, collect: Any, precision: str, tolerance: float) -> None:
    learner = make_learner(precision=precision, clip=tolerance, minibatch_size=16)  # clip_fraction counts ratios outside 1 ± clip
    learner.experience.extend(collect(learner))
    minibatch = next(learner.experience.minibatches())
    assert minibatch.steps["sample_log_prob"].std() > 0.1  # the policy is far from uniform

    _, figures = learner.losses(minibatch)

    assert figures["ppo/clip_fraction"] == 0
    assert abs(figures["ppo/kl"]) < tolerance
    learner.update(minibatch)
    assert learner.losses(minibatch)[1]["ppo/kl"] != figures["ppo/kl"]


def test_the_policy_samples_from_its_own_probabilities() -> None:
    ppo = make()
    s_x = torch.randn(1, WIDTH).expand(4000, WIDTH)
    acted = ppo.policy_head()(TensorDict({S_X: s_x}, batch_size=[4000]))

    log_p = F.log_softmax(tanh_mlp(ppo, "actor", s_x[0]), dim=-1)
    frequency = acted[ACTION].bincount(minlength=ACTIONS) / 4000
    torch.testing.assert_close(frequency, log_p.exp(), atol=0.04, rtol=0)
    torch.testing.assert_close(acted["sample_log_prob"], log_p[acted[ACTION]])
    torch.testing.assert_close(acted["state_value"], tanh_mlp(ppo, "critic", s_x))


@pytest.mark.parametrize(("schedule", "expected"), [("constant", [0.2, 0.2, 0.2]), ("linear", [0.2, 0.1, 0.05])])
def test_the_clip_follows_its_schedule(schedule: Any, expected: list[float]) -> None:
    ppo = make(clip_schedule=schedule, clip=0.2)
    for progress, clip in zip([0.0, 0.5, 0.75], expected, strict=True):
        ppo.anneal(progress)
        minibatch = acted_on(ppo, batch=256)
        _, figures = ppo.losses(minibatch)
        with torch.no_grad():
            log_p = F.log_softmax(tanh_mlp(ppo, "actor", minibatch[S_X]), dim=-1).gather(1, minibatch[ACTION][:, None]).squeeze(1)
        ratio = (log_p - minibatch["sample_log_prob"]).exp()
        torch.testing.assert_close(figures["ppo/clip_fraction"], ((ratio - 1).abs() > clip).float().mean())


@pytest.mark.parametrize("algorithm", [PPO, A2C])
@pytest.mark.parametrize(("end", "expected"), [(None, [0.02, 0.02, 0.02]), (-0.02, [0.02, 0.01, -0.02])])
def test_the_weight_of_the_entropy_moves_to_its_end(algorithm: Any, end: float | None, expected: list[float]) -> None:
    on_policy = algorithm(WIDTH, Categorical(ACTIONS), entropy_weight=0.02, entropy_weight_end=end)
    for progress, weight in zip([0.0, 0.25, 1.0], expected, strict=True):
        on_policy.anneal(progress)
        terms, _ = on_policy.losses(acted_on(on_policy, batch=16))
        assert terms["entropy"].weight == pytest.approx(weight)


def test_below_zero_the_entropys_weight_sharpens_the_policy() -> None:
    torch.manual_seed(0)
    ppo = make(entropy_weight=0.0, entropy_weight_end=-1.0)
    ppo.anneal(1.0)
    minibatch = acted_on(ppo, batch=64)
    optimizer = torch.optim.Adam(ppo.parameters(), lr=1e-2)
    entropies = []
    for _ in range(20):
        term = ppo.losses(minibatch)[0]["entropy"]
        optimizer.zero_grad()
        (term.weight * term.loss).backward()
        optimizer.step()
        entropies.append(ppo.policy_figures(minibatch)["entropy"].item())
    assert entropies[-1] < 0.9 * entropies[0]


def test_the_initial_policy_is_nearly_uniform() -> None:
    torch.manual_seed(0)
    acted = PPO(WIDTH, Categorical(ACTIONS)).policy_head()(TensorDict({S_X: torch.randn(100, WIDTH)}, batch_size=[100]))
    torch.testing.assert_close(acted["logits"].softmax(dim=-1), torch.full((100, ACTIONS), 1 / ACTIONS), atol=0.02, rtol=0)

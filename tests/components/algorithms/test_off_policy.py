"""What dqn and sac have in common. Their losses and policies are tested in test_dqn.py and test_sac.py."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torchrl.data import Bounded, Categorical

from jepakit.agent.evaluate import evaluate
from jepakit.components.algorithms.dqn import DQN
from jepakit.components.algorithms.sac import SAC
from jepakit.protocols import ACTION, S_X, OffPolicyAlgorithm
from jepakit.training.run import run

WIDTH, ROWS = 6, 16
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "dqn": (DQN, Categorical(3), {}),
    "c51": (DQN, Categorical(3), {"distributional": True, "dueling": True, "target_decay": 0.5, "target_every": 3}),
    "noisy": (DQN, Categorical(3), {"noisy_std": 0.5, "dueling": True}),
    "sac-discrete": (SAC, Categorical(3), {}),
    "sac-continuous": (SAC, Bounded(-2.0, 2.0, (2,)), {"target_decay": 0.0}),
    "sac-curl": (SAC, Categorical(3), {"target_decay": 0.9, "target_encoder_decay": 0.6, "target_every": 2, "actor_every": 3}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


class Encoder(nn.Module):
    """An encoder with a float and an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, WIDTH)
        self.register_buffer("scale", torch.rand(3))
        self.register_buffer("count", torch.tensor(5))


def make(kind: str, seed: int = 0) -> tuple[Any, Encoder]:
    torch.manual_seed(seed)
    cls, spec, fields = KINDS[kind]
    encoder = Encoder()
    return cls(WIDTH, spec, encoder, hidden=(8,), **fields), encoder


def make_minibatch(kind: str) -> TensorDict:
    ended = torch.rand(ROWS, 1) < 0.3
    after = {S_X: torch.randn(ROWS, WIDTH), "reward": torch.randn(ROWS, 1), "terminated": ended, "done": ended}
    steps = {S_X: torch.randn(ROWS, WIDTH), ACTION: KINDS[kind][1].rand((ROWS,)), "next": after}
    return TensorDict(steps | {"steps_to_next_obs": torch.ones(ROWS, 1, dtype=torch.int64)}, batch_size=[ROWS])


def learn(algorithm: Any, encoder: Encoder, kind: str, updates: int, seed: int) -> dict[str, Tensor]:
    """Take ``updates`` optimizer steps and return a copy of the resulting state."""
    torch.manual_seed(seed)
    optimizer = torch.optim.SGD(algorithm.parameters(), lr=0.1)
    for _ in range(updates):
        terms, _ = algorithm.losses(make_minibatch(kind))
        optimizer.zero_grad()
        sum(term.weight * term.loss for term in terms.values()).backward()
        optimizer.step()
        with torch.no_grad():
            for tensor in (*encoder.parameters(), encoder.scale):
                tensor.add_(torch.randn_like(tensor))
            encoder.count += 1
        algorithm.updated(encoder)
    return {name: tensor.clone() for name, tensor in algorithm.state_dict().items()}


@every_kind
def test_an_algorithm_implements_the_protocol_and_trains_no_target(kind: str) -> None:
    algorithm, encoder = make(kind)
    assert isinstance(algorithm, OffPolicyAlgorithm)
    trained = {id(parameter) for parameter in algorithm.parameters() if parameter.requires_grad}
    assert not trained & {id(parameter) for parameter in (*algorithm.bootstrap_encoder.parameters(), *encoder.parameters())}
    for mine, theirs in zip(algorithm.bootstrap_encoder.parameters(), encoder.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    sum(term.loss for term in algorithm.losses(make_minibatch(kind))[0].values()).backward()
    assert {id(parameter) for parameter in algorithm.parameters() if parameter.grad is not None} == trained


@every_kind
def test_targets_track_heads_and_encoder(kind: str) -> None:
    algorithm, encoder = make(kind)
    every, decay = algorithm.targets.every, {"heads": algorithm.targets.decay, "encoder": algorithm.targets.decay}
    if kind == "sac-curl":
        every, decay = 2, {"heads": 0.9, "encoder": 0.6}
    network = "qvalue" if kind.startswith("sac") else "value"

    def online_and_target() -> list[tuple[str, Tensor, Tensor]]:
        state = algorithm.state_dict()
        heads = [(tensor, state[name.replace("loss.", "loss.target_")]) for name, tensor in state.items() if f"loss.{network}_" in name]
        encoders = [(tensor, state[f"targets.encoder.{name}"]) for name, tensor in encoder.state_dict().items()]
        assert heads
        pairs = {"heads": heads, "encoder": encoders}
        return [(part, online.clone(), target.clone()) for part, each in pairs.items() for online, target in each]

    moved = 0
    for update in range(1, 8):
        before = online_and_target()
        learn(algorithm, encoder, kind, updates=1, seed=update)
        for (part, _, old), (_, online, target) in zip(before, online_and_target(), strict=True):
            moves = update % every == 0
            expected = (decay[part] * old + (1 - decay[part]) * online if online.is_floating_point() else online) if moves else old
            torch.testing.assert_close(target, expected)
            moved += int(moves and not torch.equal(target, old))
    assert moved > 10


@every_kind
def test_learning_continues_identically_from_a_loaded_state(kind: str) -> None:
    algorithm, encoder = make(kind)
    algorithm.anneal(0.1)
    learn(algorithm, encoder, kind, updates=4, seed=1)
    other, _ = make(kind, seed=9)
    other.load_state_dict(algorithm.state_dict())
    twin = copy.deepcopy(encoder)

    here, there = learn(algorithm, encoder, kind, updates=4, seed=2), learn(other, twin, kind, updates=4, seed=2)
    assert here.keys() == there.keys()
    assert all(torch.equal(here[name], there[name]) for name in here)
    acted = []
    for one in (algorithm, other):
        torch.manual_seed(3)
        acted.append(one.policy_head()(TensorDict({S_X: torch.randn(50, WIDTH)}, batch_size=[50]))[ACTION])
    assert torch.equal(*acted)


@every_kind
def test_losses_add_only_td_error_to_the_minibatch(kind: str) -> None:
    algorithm, _ = make(kind)
    algorithm.reward_scale = 0.1
    minibatch = make_minibatch(kind)
    before = minibatch.clone()
    algorithm.losses(minibatch)
    assert minibatch["td_error"].shape == (ROWS,)
    assert set(minibatch.keys(True)) - set(before.keys(True)) == {"td_error"}
    assert (minibatch.select(*before.keys(True, True)) == before).all()


@pytest.mark.parametrize(
    ("env", "algorithm"),
    [
        ("CartPole-v1", "kind: dqn, distributional: true"),
        ("Pendulum-v1", "kind: sac, gradients_to_encoder: false, n_step: 2"),
    ],
)
def test_an_off_policy_run_with_jepa_is_trained_and_evaluated(env: str, algorithm: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"""
        name: off_policy
        total_steps: 60
        env: {{kind: gym, id: {env}, num_envs: 2, size: [8, 8], max_episode_steps: 5}}
        encoder: {{kind: vit, dim: 8, depth: 1, heads: 1, patch: 8}}
        jepa: {{target: {{kind: ema}}, predictor: {{kind: mlp}}, objective: {{kind: l2}}}}
        algorithm: {{{algorithm}, rollout_steps: 10, minibatch_size: 4, learning_starts: 20, updates_per_step: 0.1, hidden: [8]}}
        replay: {{capacity: 40, sampler: prioritized}}
        device: cpu
        threads: 1
    """)
    summary = run(str(recipe), out=tmp_path / "out", quiet=True).summary
    assert summary["updates"] == 4
    assert len(evaluate(tmp_path / "out", episodes=2)["greedy"]["returns"]) == 2

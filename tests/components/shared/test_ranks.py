"""Two ranks with half of the rows each give one process's numbers, values and gradients alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torchrl.data import Categorical

from jepakit import registry
from jepakit.components.shared import ranks
from jepakit.machine.group import joined
from jepakit.machine.hardware import Hardware
from jepakit.protocols import PIXELS, FrameShape
from jepakit.recipe import load_recipe
from jepakit.training.build import build_env, build_learner
from jepakit.training.experience.share import share_of
from jepakit.training.policy import Policy
from jepakit.training.terms import WeightedTerm
from tests.forked import on_ranks

WIDTH, ROWS, PREDICTIONS = 6, 12, (9, 14)  #: embedding width; rows in all; predictions on each rank, whose numbers differ
FRAMES = FrameShape(frames=3, channels=1, height=8, width=12)
CONTEXT = {"frames": FRAMES, "action_spec": Categorical(3), "embedding_width": WIDTH}
SLOTS = ("regularizer", "objective", "auxiliary")
KINDS = [(found.slot, found.kind) for found in registry.components() if found.slot in SLOTS and found.cls.__module__.startswith("jepakit.")]
RECIPE: dict[str, Any] = {
    "name": "ranks",
    "env": {"kind": "gym", "id": "CartPole-v1", "num_envs": 4, "size": [16, 24]},
    "encoder": {"kind": "vit", "dim": 8, "depth": 1, "heads": 2, "patch": 8, "scaling": "normalized"},
    "jepa": {"horizon": 3, "objective": {"kind": "infonce"}},
    "regularizers": [{"kind": kind, "weight": 0.3} for kind in ("variance", "vicreg", "sigreg", "barlow", "time_similarity")],
    "auxiliary": [{"kind": "inverse_dynamics"}, {"kind": "reward_prediction"}],
    "algorithm": {"kind": "ppo", "minibatch_size": None, "epochs": 1, "rollout_steps": 8},
    "optimizer": {"lr": 1e-4, "max_grad_norm": 0.5},
}
VARIANTS: dict[str, list[str]] = {
    "all terms": [],
    "batch normalisation": ["jepa.predictor={kind: conv, channels: 2, rows: 2}", "jepa.objective.kind=cosine"],
    "a2c": ["algorithm={kind: a2c, rollout_steps: 8}", "jepa.objective.kind=smooth_l1"],
    "reinforce": ["algorithm={kind: reinforce, rollout_steps: 8, minibatch_size: null}", "jepa.objective.kind=l2"],
}


def inputs() -> dict[str, Tensor]:
    """The `INPUTS` of a term, for all ranks together."""
    torch.manual_seed(1)
    rows = {name: torch.randn(ROWS, WIDTH) for name in ("s_x", "s_x_next")} | {
        name: torch.randn(sum(PREDICTIONS), WIDTH) for name in ("s_y_hat", "s_y", "s_hat")
    }
    rows |= {"s_hat_action": torch.randint(0, 3, (sum(PREDICTIONS),)), "s_hat_reward": torch.randn(sum(PREDICTIONS), 1)}
    rows |= {"s_hat_terminated": torch.randn(sum(PREDICTIONS), 1) > 1}
    actions, rewards = torch.randint(0, 3, (ROWS,)), torch.randn(ROWS, 1)
    return rows | {"action": actions, "reward": rewards, PIXELS: torch.randint(0, 256, (ROWS, *FRAMES), dtype=torch.uint8)}


def own(name: str, rows: Tensor) -> Tensor:
    """This rank's part of an input."""
    if name.startswith(("s_y", "s_hat")):
        return rows.split(PREDICTIONS)[ranks.rank()] if ranks.size() > 1 else rows
    return rows.chunk(ranks.size())[ranks.rank()]


def measured(slot: str, kind: str) -> dict[str, Tensor]:
    """A component's loss, its gradient by its inputs, and by its own weights."""
    torch.manual_seed(2)
    found = registry.component(slot, kind)
    component = found.cls(**{name: CONTEXT[name] for name in found.context})
    names = ("s_y_hat", "s_y") if slot == "objective" else WeightedTerm(component, 1.0).inputs
    given = {name: own(name, rows).requires_grad_(rows.is_floating_point()) for name, rows in inputs().items() if name in names}
    loss = ranks.mean(component(*given.values())) if slot == "objective" else component(**given)
    loss = ranks.averaged(loss)
    loss.backward()
    weights = [*component.parameters()] if isinstance(component, nn.Module) else []
    ranks.average([weight.grad for weight in weights if weight.grad is not None])
    # averaging over ranks divides the gradients by their number, which is what makes those of the inputs the global ones
    by_input = {name: ranks.gathered(rows.grad / ranks.size()) for name, rows in given.items() if rows.grad is not None}
    by_weight = {f"weight {i}": weight.grad for i, weight in enumerate(weights) if weight.grad is not None}
    return {"loss": loss.detach()} | by_input | by_weight


def learned(variant: str, folder: Path, spoiled: bool = False) -> dict[str, Any]:
    """What one round of updates computes from this rank's part of a batch: metrics, gradients, weights, the frames' statistics."""
    recipe = load_recipe(RECIPE, VARIANTS[variant])
    env = build_env(share_of(recipe))
    learner = build_learner(recipe, env, Hardware("cpu", "fp32", threads=1))
    file = folder / f"{variant}.pt"
    if not file.exists():
        torch.save(batch(learner, env), file)
    rows = torch.load(file, weights_only=False)
    mine = TensorDict.cat([rows]).chunk(ranks.size())[ranks.rank()].clone()
    if spoiled and ranks.rank() == 0:
        mine["next", "reward"][0, 0] = float("nan")
    metrics = learner.learn(mine, progress=0.0)
    return {
        "metrics": metrics,
        "gradients": {name: each.grad for name, each in learner.trained.named_parameters() if each.grad is not None},
        "weights": {name: each.detach() for name, each in learner.parts.state_dict().items()},
        "first": learner.first_bad,
    }


def batch(learner: Any, env: Any) -> TensorDict:
    """A rollout [4, 8] of random stacks, some of whose episodes end."""
    torch.manual_seed(3)
    policy = Policy(learner)
    steps = []
    for _ in range(8):
        blank = env.fake_tensordict().exclude("action")
        blank[PIXELS] = torch.randint(0, 256, blank[PIXELS].shape).to(torch.uint8)
        blank["next", PIXELS] = torch.randint(0, 256, blank[PIXELS].shape).to(torch.uint8)
        blank["next", "reward"] = torch.randn(4, 1)
        blank["next", "terminated"] = torch.rand(4, 1) < 0.2
        blank["next", "done"] = blank["next", "terminated"] | (torch.rand(4, 1) < 0.1)
        steps.append(policy(blank))
    return TensorDict.stack(steps, dim=1)


def branches() -> list[Tensor | None]:
    """The gradients of two layers of which each rank has used another, and of one that none has."""
    layers = [nn.Linear(2, 1, bias=False) for _ in range(3)]
    layers[ranks.rank()](torch.tensor([1.0, 3.0])).sum().backward()
    parameters = [layer.weight for layer in layers]
    ranks.average_gradients(parameters)
    return [parameter.grad for parameter in parameters]


def aligned() -> dict[str, Tensor]:
    """The buffers of a module that each rank has filled from its own rows."""
    module, mine = nn.Sequential(nn.BatchNorm1d(2)), 1.0 + ranks.rank()
    module[0].running_mean.fill_(mine)
    for name, dtype in (("flag", torch.bool), ("narrow", torch.bfloat16), ("wide", torch.float64)):
        module.register_buffer(name, torch.full((3,), mine - 1).to(dtype))
    module.register_buffer("strided", torch.arange(6.0).view(2, 3).T * mine)
    module.register_buffer("nothing", torch.zeros(0))
    ranks.align_buffers(module)
    return dict(module.named_buffers())


def rank(folder: Path) -> None:
    """All that two ranks compute, saved by each."""
    torch.set_num_threads(1)
    with joined():
        found: dict[str, Any] = {"terms": {kind: measured(*kind) for kind in KINDS}}
        found["learned"] = {variant: learned(variant, folder) for variant in VARIANTS}
        found["spoiled"] = learned("all terms", folder, spoiled=True)
        found |= {"branches": branches(), "aligned": aligned()}
        torch.save(found, folder / f"rank{ranks.rank()}.pt")


@pytest.fixture(scope="module")
def one() -> dict[tuple[str, str], dict[str, Tensor]]:
    return {kind: measured(*kind) for kind in KINDS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, dict[str, Any]]:
    return {variant: learned(variant, folder) for variant in VARIANTS}


@pytest.fixture(scope="module")
def two(folder: Path, alone: object) -> list[dict[str, Any]]:
    outcomes = on_ranks(rank, folder, cwd=folder)
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    return [torch.load(folder / f"rank{number}.pt", weights_only=False) for number in range(2)]


def expect_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(
            torch.as_tensor(found[name]),
            torch.as_tensor(expected[name]),
            rtol=1e-5,
            atol=1e-5,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_term_is_that_of_one_process(kind: tuple[str, str], one: dict[Any, Any], two: list[dict[str, Any]]) -> None:
    assert len(one[kind]) > 1
    for found in two:
        expect_close(found["terms"][kind], one[kind])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_round_of_updates_is_that_of_one_process(variant: str, alone: dict[str, Any], two: list[dict[str, Any]]) -> None:
    for found in two:
        for part in ("metrics", "gradients", "weights"):
            expect_close(found["learned"][variant][part], alone[variant][part])
    first, second = (found["learned"][variant]["weights"] for found in two)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_one_rank_cannot_use_all_ranks_skip(two: list[dict[str, Any]]) -> None:
    for found in two:
        assert found["spoiled"]["metrics"] == {"updates_skipped": 1.0}
        assert "loss/" in found["spoiled"]["first"]


def test_parameters_that_only_some_ranks_use_are_averaged_with_themselves(two: list[dict[str, Any]]) -> None:
    for found in two:
        first, second, unused = found["branches"]
        assert first.tolist() == second.tolist() == [[0.5, 1.5]]
        assert unused is None


def test_buffers_become_the_same_on_all_ranks(two: list[dict[str, Any]]) -> None:
    for found in two:
        buffers = found["aligned"]
        assert buffers["0.running_mean"].tolist() == [1.5, 1.5]
        assert [buffers[name].tolist() for name in ("flag", "narrow", "wide")] == [[False] * 3, [0.0] * 3, [0.0] * 3]
        assert buffers["strided"].tolist() == torch.arange(6.0).view(2, 3).T.tolist()

"""The planners find what an exhaustive search finds, each env by itself."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torchrl.data import Bounded, Categorical

from jepakit.components.planners.cem import CEM
from jepakit.components.planners.mppi import MPPI

ENVS, STEPS, CHOICES = 3, 4, 3
BOUNDS = Bounded(torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 1.0]), shape=(2,))
KINDS = [CEM, MPPI]


def begun(*shape: int, dtype: torch.dtype = torch.int64) -> dict[str, Tensor]:
    """A planner's other inputs at an episode's start: nothing proposed, nothing planned before."""
    return {
        "proposals": torch.zeros(shape[0], 0, *shape[1:], dtype=dtype),
        "previous": torch.zeros(shape, dtype=dtype),
        "going_on": torch.zeros(shape[0], dtype=torch.bool),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_discrete_plans_are_those_of_an_exhaustive_search(kind: Any) -> None:
    """Scores with an interaction of successive actions, another table for each env."""
    torch.manual_seed(0)
    alone, pairs = torch.randn(ENVS, STEPS, CHOICES), torch.randn(ENVS, STEPS - 1, CHOICES, CHOICES)

    def score(actions: Tensor) -> Tensor:
        env, step = torch.arange(ENVS)[:, None, None], torch.arange(STEPS)
        return alone[env, step, actions].sum(dim=-1) + 0.5 * pairs[env, step[:-1], actions[..., :-1], actions[..., 1:]].sum(dim=-1)

    everything = torch.tensor(list(product(range(CHOICES), repeat=STEPS))).expand(ENVS, -1, -1)
    best = everything[torch.arange(ENVS), score(everything).argmax(dim=1)]

    found = kind(Categorical(CHOICES), samples=300, elites=30, iterations=6)(score, **begun(ENVS, STEPS))

    assert torch.equal(found, best)


@pytest.mark.parametrize("kind", KINDS)
def test_continuous_plans_come_near_the_optimum(kind: Any) -> None:
    torch.manual_seed(0)
    wanted = BOUNDS.rand(torch.Size((ENVS, STEPS)))

    def score(actions: Tensor) -> Tensor:
        return -1e4 * (actions - wanted[:, None]).square().sum(dim=(-2, -1))  # rewards of any size

    found = kind(BOUNDS, samples=400, elites=20, iterations=8)(score, **begun(ENVS, STEPS, 2, dtype=torch.float32))

    assert (found - wanted).abs().max() < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_a_proposal_is_found_that_no_sample_would_find(kind: Any) -> None:
    torch.manual_seed(0)
    steps = 12  # 3^12 sequences
    wanted = torch.randint(CHOICES, (ENVS, steps))
    given = {**begun(ENVS, steps), "proposals": wanted[:, None]}

    def score(actions: Tensor) -> Tensor:
        return (actions == wanted[:, None]).all(dim=-1).float()

    planner = kind(Categorical(CHOICES), samples=8, elites=1, iterations=2)
    assert torch.equal(planner(score, **given), wanted)


@pytest.mark.parametrize("spec", [Categorical(CHOICES), BOUNDS])
def test_the_plan_of_the_step_before_is_where_a_search_starts(spec: Any) -> None:
    """With a flat score, a plan that goes on stays nearer to it than one that begins."""
    torch.manual_seed(0)
    previous = spec.rand(torch.Size((40, STEPS)))
    going_on = torch.arange(40) < 20
    given = {"proposals": previous[:, None][:, :0], "previous": previous, "going_on": going_on}

    found = CEM(spec, samples=32, elites=32, iterations=1)(lambda actions: torch.zeros(actions.shape[:2]), **given)

    missed = (found != previous).float() if previous.ndim == 2 else (found - previous).abs().mean(dim=-1)
    assert missed[going_on].mean() < 0.6 * missed[~going_on].mean()


def test_the_weights_are_those_of_the_papers() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 5.0]])
    assert CEM(Categorical(2), samples=4, elites=2).weights(scores)[0].tolist() == [0.5, 0.0, 0.5, 0.0]
    weights = MPPI(Categorical(2), samples=4, elites=3, temperature=0.7).weights(scores)
    spread = scores[0].std(correction=0).item()
    expected = [torch.tensor((s - 3.0) / spread / 0.7).exp().item() for s in (3.0, 1.0, 2.0)]
    torch.testing.assert_close(weights[0, :3], torch.tensor(expected) / sum(expected))
    assert weights[0, 3] == 0


def test_a_rollout_that_overflows_is_no_plan() -> None:
    torch.manual_seed(0)

    def score(actions: Tensor) -> Tensor:
        return torch.where(actions[..., 0] == 1, torch.nan, torch.where(actions[..., 0] == 2, torch.inf, 0.0)).where(
            actions[..., 0] != 2, -torch.inf
        )

    assert (CEM(Categorical(3))(score, **begun(ENVS, STEPS))[:, 0] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_rollouts_that_overflow_change_nothing_for_the_others(kind: Any, bad: float) -> None:
    """Even where there are fewer others than elites, and their scores are large."""
    scores = torch.tensor([[0.0, 1.0, 2.0, 3.0]]) * 1e25
    given: list[Tensor] = []

    class Watched(kind):  # type: ignore[misc]
        def weights(self, scores: Tensor) -> Tensor:
            given.append(super().weights(scores))
            return given[-1]

    for more, elites in (([], 4), ([bad, bad], 6)):
        planner = Watched(Categorical(2), samples=4 + len(more), elites=elites, iterations=1)
        planner(lambda actions, more=more: torch.cat((scores, torch.tensor([more])), dim=1), **begun(1, STEPS))
    torch.testing.assert_close(given[1][:, :4], given[0])
    assert not given[1][:, 4:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_where_every_rollout_overflows_a_plan_is_still_a_plan(kind: Any) -> None:
    found = kind(BOUNDS)(lambda actions: torch.full(actions.shape[:2], torch.nan), **begun(ENVS, STEPS, 2, dtype=torch.float32))
    assert BOUNDS.expand(ENVS, STEPS, 2).is_in(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dimension_whose_bounds_are_equal_is_that_bound(kind: Any) -> None:
    spec = Bounded(torch.tensor([-2.0, 1.0]), torch.tensor([1.0, 1.0]), shape=(2,))
    found = kind(spec)(lambda actions: -actions[..., 0].square().sum(dim=-1), **begun(ENVS, STEPS, 2, dtype=torch.float32))
    assert found[..., 0].abs().max() < 0.5
    assert (found[..., 1] == 1).all()


def test_more_elites_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="elites 9 is more than the 8 samples"):
        CEM(Categorical(2), samples=8, elites=9)


@pytest.mark.parametrize("kind", KINDS)
def test_held_actions_repeat_and_the_search_sees_them_repeated(kind: Any) -> None:
    torch.manual_seed(0)
    steps, wanted = 7, torch.tensor([2, 0, 1])

    def score(actions: Tensor) -> Tensor:
        assert all(torch.equal(actions[..., 3 * k], actions[..., step]) for k in range(3) for step in range(3 * k, min(steps, 3 * k + 3)))
        return (actions[..., ::3] == wanted).sum(dim=-1).float()

    proposals = torch.randint(CHOICES, (ENVS, 2, steps))
    found = kind(Categorical(CHOICES), samples=60, elites=4, iterations=3, hold=3)(score, **{**begun(ENVS, steps), "proposals": proposals})
    assert torch.equal(found, wanted.repeat_interleave(3)[:steps].expand(ENVS, -1))

"""Updates that are checked once a round: in the same state as those that are checked at once, and without waiting for the device."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from jepakit.components.encoders.vit import ViT
from jepakit.components.regularizers.vicreg import VICReg
from jepakit.diagnostics.finite import BadWeights
from jepakit.training.learner import Learner
from jepakit.training.terms import WeightedTerm
from tests.conftest import FRAMES

WAITS = ("_local_scalar_dense", "masked_select", "equal", "is_nonzero")  #: operators whose result Python has to wait for


class Odd(nn.Module):
    """A regularizer that draws a random number, counts in a buffer, and is infinite in one call."""

    calls: Tensor

    def __init__(self, bad: int | None, width: int) -> None:
        super().__init__()
        self.bad = bad
        self.weight = nn.Parameter(torch.ones(width))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, s_x: Tensor) -> Tensor:
        self.calls += 1
        loss = (s_x * self.weight * torch.rand(())).square().mean()
        return loss * torch.where(self.calls == (self.bad or 0), math.inf, 1.0)


def state(learner: Learner) -> dict[str, Tensor]:
    optimizer = {f"{n}.{name}": value for n, each in enumerate(learner.optimizer.state.values()) for name, value in each.items()}
    return dict(learner.parts.state_dict()) | optimizer | {"generator": torch.get_rng_state()}


def trained(make_learner: Any, collect: Any, bad: int | None, *, late: bool, **fields: Any) -> tuple[Learner, list[Mapping[str, float]]]:
    learner = make_learner(terms={"regularizer/odd": WeightedTerm(Odd(bad, 8), 1.0)}, minibatch_size=8, epochs=2, **fields)
    learner.checks.late = late
    batches = [collect(learner, seed=seed) for seed in (0, 1)]
    torch.manual_seed(5)
    return learner, [learner.learn(batch, progress) for batch, progress in zip(batches, (0.0, 0.5), strict=True)]


@pytest.mark.parametrize("bad", [None, 1, 7, 12, 20])
def test_a_late_check_leaves_the_run_as_one_at_once(make_learner: Any, collect: Any, bad: int | None) -> None:
    once, figures = trained(make_learner, collect, bad, late=False)
    late, again = trained(make_learner, collect, bad, late=True)

    assert again == figures
    assert sum(each["updates_skipped"] for each in figures) == (bad is not None)
    assert (late.updates, late.bad_updates, late.first_bad) == (once.updates, once.bad_updates, once.first_bad)
    expected = state(once)
    assert state(late).keys() == expected.keys()
    for name, value in state(late).items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(("fields", "error"), [({"max_bad_updates": 1}, FloatingPointError), ({"lr": 1e38}, BadWeights)])
def test_a_late_check_ends_the_run_as_one_at_once(make_learner: Any, collect: Any, fields: dict[str, Any], error: type[Exception]) -> None:
    said = []
    for late in (False, True):
        with pytest.raises(error) as caught:
            trained(make_learner, collect, 7, late=late, **fields)
        said.append(str(caught.value))
    assert said[0] == said[1]


class Waits(TorchDispatchMode):
    """Counts the operators whose result Python waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func.overloadpacket is torch.ops.aten.index and any(each is not None and each.dtype == torch.bool for each in args[1])
        if by_mask or any(name in str(func) for name in (*WAITS, "nonzero")):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def waits(learner: Learner, updates: Callable[[], object]) -> list[str]:
    with Waits() as mode:
        updates()
    return mode.found


@pytest.mark.parametrize("scaling", ["unit", "normalized"])
def test_an_update_checked_late_waits_for_the_device_twice(make_learner: Any, collect: Any, scaling: Any) -> None:
    encoder = ViT(FRAMES, dim=8, depth=2, heads=2, patch=4, scaling=scaling)
    learner = make_learner(
        encoder=encoder, jepa={"horizon": 2}, terms={"regularizer/vicreg": WeightedTerm(VICReg(), 0.1)}, max_grad_norm=0.5
    )
    learner.experience.extend(collect(learner))
    minibatch = learner.experience.sample()
    learner.update(minibatch)  # Adam makes its state
    rows, entropy = "aten.nonzero.default", "aten._local_scalar_dense.default"  # the second is TorchRL's, which checks the entropy
    assert len(waits(learner, lambda: learner.update(minibatch))) == 5

    learner.checks.unread = []
    assert waits(learner, lambda: learner.update(minibatch)) == [entropy, rows]
    assert torch.stack(learner.checks.unread).all()

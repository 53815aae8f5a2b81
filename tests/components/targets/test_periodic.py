import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from jepakit.components.targets.periodic import Periodic


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("every", [1, 3])
def test_copies_the_online_encoder_at_each_multiple_of_every(every: int, encoder: nn.Module, walk: Callable[[nn.Module], None]) -> None:
    target = Periodic(encoder, every=every)
    history = [copy.deepcopy(encoder)]
    for updates in range(1, 8):
        walk(encoder)
        target.update(encoder)
        history.append(copy.deepcopy(encoder))
        assert [same(target.encoder, past) for past in history] == [i == updates - updates % every for i in range(updates + 1)]


def test_has_its_own_weights_and_no_gradient(encoder: nn.Module, pixels: Tensor, walk: Callable[[nn.Module], None]) -> None:
    target = Periodic(encoder, every=1)
    assert torch.equal(target(pixels), encoder(pixels))
    walk(encoder)
    target.update(encoder)
    before = target(pixels)
    assert not before.requires_grad
    assert not any(parameter.requires_grad for parameter in target.parameters())
    walk(encoder)
    assert torch.equal(target(pixels), before)


def test_a_restored_target_keeps_its_copy_schedule(encoder: nn.Module, walk: Callable[[nn.Module], None]) -> None:
    target = Periodic(encoder, every=3)
    for _ in range(2):
        target.update(encoder)
    state = target.state_dict()
    assert state["updates"].dtype == torch.int64
    assert state["updates"] == 2

    restored = Periodic(copy.deepcopy(encoder), every=3)
    restored.load_state_dict(state)
    walk(encoder)
    restored.update(encoder)
    assert same(restored.encoder, encoder)

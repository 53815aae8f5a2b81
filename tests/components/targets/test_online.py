"""The two targets that hold the online encoder itself: `online` and `stop_gradient`."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from jepakit.components.targets.encoders import OnlineEncoder
from jepakit.components.targets.online import Online
from jepakit.components.targets.stop_gradient import StopGradient

both = pytest.mark.parametrize("kind", [Online, StopGradient])


@both
def test_its_embeddings_always_match_the_online_encoder(
    kind: type[OnlineEncoder], encoder: nn.Module, pixels: Tensor, walk: Callable[[nn.Module], None]
) -> None:
    target = kind(encoder)
    assert torch.equal(target(pixels), encoder(pixels))
    walk(encoder)  # also before the update
    assert torch.equal(target(pixels), encoder(pixels))
    target.update(encoder)
    assert torch.equal(target(pixels), encoder(pixels))


@pytest.mark.parametrize(("kind", "flows"), [(Online, True), (StopGradient, False)])
def test_gradient_flows_only_through_online(kind: type[OnlineEncoder], flows: bool, encoder: nn.Module, pixels: Tensor) -> None:
    s_y = kind(encoder)(pixels)
    assert s_y.requires_grad == flows
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    if flows:
        s_y.sum().backward()
        assert encoder.linear.weight.grad.abs().max() > 0


@both
def test_the_encoder_is_trained_and_saved_once(kind: type[OnlineEncoder], encoder: nn.Module) -> None:
    target = kind(encoder)
    target.update(encoder)
    assert not list(target.parameters())
    assert not list(target.buffers())
    assert target.state_dict() == {}
    assert nn.ModuleDict({"encoder": encoder, "target": target}).state_dict().keys() == {f"encoder.{name}" for name in encoder.state_dict()}


@both
def test_copying_encoder_and_target_links_the_two_copies(
    kind: type[OnlineEncoder], encoder: nn.Module, pixels: Tensor, walk: Callable[[nn.Module], None]
) -> None:
    copied = copy.deepcopy(nn.ModuleDict({"encoder": encoder, "target": kind(encoder)}))
    walk(copied["encoder"])
    assert torch.equal(copied["target"](pixels), copied["encoder"](pixels))
    assert not torch.equal(copied["target"](pixels), encoder(pixels))


@both
def test_a_copied_target_links_to_the_encoder_at_its_next_update(
    kind: type[OnlineEncoder], encoder: nn.Module, pixels: Tensor, walk: Callable[[nn.Module], None]
) -> None:
    target = copy.deepcopy(kind(encoder))
    walk(encoder)
    target.update(encoder)
    assert torch.equal(target(pixels), encoder(pixels))

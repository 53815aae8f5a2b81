"""The encoder `timm`. Tests that need the library are skipped if it cannot be imported."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import jepakit.components.encoders.timm
from jepakit import registry
from jepakit.components.encoders.timm import TimmBackbone
from jepakit.components.shared.frozen import freeze
from jepakit.protocols import FrameShape

FRAMES = FrameShape(frames=2, channels=3, height=40, width=60)


@pytest.fixture(scope="module")
def timm() -> Any:
    return pytest.importorskip("timm")


def random_pixels(*leading: int, frames: FrameShape = FRAMES) -> Tensor:
    return torch.randint(0, 256, (*leading, *frames), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def make(frames: FrameShape = FRAMES, **fields: Any) -> TimmBackbone:
    torch.manual_seed(0)
    return TimmBackbone(frames, **{"backbone": "test_convnext"} | fields)


def test_timm_is_listed_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # any import of it fails now
    importlib.reload(jepakit.components.encoders.timm)

    found = registry.component("encoder", "timm")

    assert found.cls.requires == {"timm": "pip install 'jepakit[timm]'"}
    assert set(found.fields.model_fields) >= {"backbone", "weights", "frozen", "scaling"}


@pytest.mark.parametrize("backbone", ["test_convnext", "test_resnet", "test_efficientnet_gn"])
@pytest.mark.parametrize("frames", [FRAMES, FrameShape(3, 1, 64, 48)])
def test_the_encoder_is_the_librarys_backbone_with_frames_as_channels(timm: Any, backbone: str, frames: FrameShape) -> None:
    encoder, pixels = make(frames, backbone=backbone, scaling="unit").eval(), random_pixels(2, 2, frames=frames)
    torch.manual_seed(0)
    theirs = timm.create_model(backbone, in_chans=frames.frames * frames.channels, num_classes=0).eval()
    images = torch.stack([torch.cat(list(stack)) for stack in pixels.flatten(0, 1)]).float() / 255
    torch.testing.assert_close(encoder(pixels), theirs(images).detach().reshape(2, 2, -1))


def test_a_transformer_is_built_for_the_frame_size(timm: Any) -> None:
    frames = FrameShape(3, 1, 32, 64)
    encoder = make(frames, backbone="test_vit")
    assert encoder.backbone.patch_embed.grid_size == (2, 4)
    assert encoder(random_pixels(5, frames=frames)).shape == (5, 64)


@pytest.mark.parametrize("leading", [(), (3,), (2, 2), (0,)])
def test_any_leading_dimensions_are_accepted(timm: Any, leading: tuple[int, ...]) -> None:
    encoder, pixels = make(), random_pixels(*leading)
    one_by_one = [encoder(stack) for stack in pixels.reshape(-1, *FRAMES)]
    expected = torch.stack(one_by_one).reshape(*leading, -1) if one_by_one else torch.empty(*leading, 64)
    torch.testing.assert_close(encoder(pixels), expected)


def test_pixels_are_standardised_as_the_backbone_expects(timm: Any) -> None:
    encoder = make(backbone="mobilenetv3_small_050")  # its mean and std are ImageNet's
    seen: list[Tensor] = []
    encoder.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pixels = random_pixels(2)
    encoder(pixels)
    for k in range(2):
        for colour, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
            torch.testing.assert_close(seen[0][:, 3 * k + colour], (pixels[:, k, colour] / 255 - mean) / std)

    grey = make(FrameShape(2, 1, 40, 60), backbone="mobilenetv3_small_050")
    grey.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    grey(pixels[:, :, :1])
    torch.testing.assert_close(seen[1], (pixels[:, :, 0] / 255 - 0.449) / 0.226)


def test_a_frozen_backbone_never_changes(timm: Any) -> None:
    encoder = freeze(make(backbone="test_resnet"), statistics=False)  # has batch normalisation
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    pixels = random_pixels(4)
    s_x = encoder(pixels)

    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(module.training for module in encoder.train().backbone.modules())
    torch.testing.assert_close(encoder(pixels[:1]), s_x[:1])
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


def test_an_unfrozen_backbone_trains_and_obeys_train_and_eval(timm: Any) -> None:
    encoder = make()
    assert encoder.backbone.training
    assert not encoder.eval().backbone.training
    encoder.train()(random_pixels(4)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_acting_and_learning_give_the_same_output(timm: Any) -> None:
    frames = FrameShape(1, 3, 64, 64)
    torch.manual_seed(0)
    encoder = make(frames, backbone="swin_tiny_patch4_window7_224")  # drops paths by default
    assert any(isinstance(module, timm.layers.DropPath) for module in encoder.modules())
    pixels = random_pixels(2, frames=frames)
    assert torch.equal(encoder.train()(pixels), encoder.eval()(pixels))


@pytest.fixture
def weights(timm: Any, tmp_path: Path) -> str:
    """A file of pretrained weights, with a classifier."""
    torch.manual_seed(1)
    save_file(timm.create_model("test_convnext", num_classes=1000).state_dict(), tmp_path / "weights.safetensors")
    return str(tmp_path / "weights.safetensors")


def test_weights_are_loaded_from_a_local_file(timm: Any, weights: str) -> None:
    stored = load_file(weights)
    same = make(FrameShape(1, 3, 40, 60), weights=weights).backbone.state_dict()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in same.items())

    more = make(FRAMES, weights=weights).backbone.state_dict()
    stem = next(name for name in more if more[name].shape != stored[name].shape)
    torch.testing.assert_close(more[stem], stored[stem].repeat(1, 2, 1, 1) / 2)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in more.items() if name != stem)


def test_weights_for_the_frames_number_of_channels_are_loaded_unchanged(timm: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "own.safetensors")
    frames = FrameShape(4, 1, 40, 60)
    trained = make(frames)
    with torch.no_grad():
        nn.init.normal_(next(trained.parameters()))
    save_file(trained.backbone.state_dict(), path)
    again = make(frames, weights=path)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), trained.parameters(), strict=True))


def test_weights_that_do_not_fit_are_refused(timm: Any, tmp_path: Path, weights: str) -> None:
    with pytest.raises(ValueError, match=r"^weights nowhere.safetensors is not a .safetensors file$"):
        make(weights="nowhere.safetensors")
    (tmp_path / "weights.bin").touch()
    with pytest.raises(ValueError, match=r"^weights .*weights.bin is not a .safetensors file$"):
        make(weights=str(tmp_path / "weights.bin"))
    with pytest.raises(ValueError, match=r"^weights .* lacks \d+ of the backbone's tensors, such as "):
        make(backbone="test_resnet", weights=weights)
    stored = load_file(weights)
    name = sorted(stored)[-1]
    del stored[name]
    save_file(stored, weights)
    with pytest.raises(ValueError, match=rf"^weights .* lacks 1 of the backbone's tensors, such as {name}$"):
        make(weights=weights)


@pytest.mark.parametrize(
    ("fields", "size", "message"),
    [
        ({"backbone": "convnext_ato"}, (40, 60), "backbone convnext_ato is not in timm; did you mean `convnext_atto`?"),
        ({"backbone": "hf-hub:timm/test_convnext"}, (40, 60), "backbone hf-hub:timm/test_convnext is not in timm"),
        ({"backbone": "test_convnext.nonsense"}, (40, 60), "backbone test_convnext.nonsense cannot take frames of 40x60"),
        ({"backbone": "test_convnext"}, (8, 12), "backbone test_convnext cannot take frames of 8x12"),
        ({"backbone": "test_vit"}, (40, 64), "backbone test_vit cannot take frames of 40x64"),
        ({"backbone": "vit_tiny_patch16_224"}, (40, 64), "would drop pixels: its patches of 16x16 do not divide 40x64"),
        ({"backbone": "vit_tiny_patch16_224"}, (64, 40), "would drop pixels: its patches of 16x16 do not divide 64x40"),
    ],
)
def test_an_unknown_or_unsuitable_backbone_is_refused(timm: Any, fields: dict[str, Any], size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=r"^backbone ") as caught:
        make(FrameShape(2, 1, *size), **fields)
    assert message in str(caught.value)


def test_bf16_stays_close_to_fp32(timm: Any) -> None:
    encoder, pixels = make(), random_pixels(8)
    exact = encoder(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = encoder(pixels).float()
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).norm() < 0.05 * exact.norm()

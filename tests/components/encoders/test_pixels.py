"""Pixels become floats: by a fixed scaling, or by statistics of the frames that a run has seen."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jepakit.components.encoders.cnn import CNN
from jepakit.components.encoders.der_cnn import DERCNN
from jepakit.components.encoders.drq_cnn import DrQCNN
from jepakit.components.encoders.impala import Impala
from jepakit.components.encoders.nature_cnn import NatureCNN
from jepakit.components.encoders.pixels import pixel_scaling
from jepakit.components.encoders.vit import ViT
from jepakit.components.shared.normalized import CLIP, EPSILON
from jepakit.protocols import FrameShape

FRAMES = FrameShape(3, 2, 6, 5)


def seen(count: int, seed: int = 0) -> Tensor:
    frames = torch.randint(0, 256, (count, *FRAMES[1:]), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    frames[:, :, 0] = 87  # a constant row of pixels
    return frames


@pytest.mark.parametrize(("scaling", "expected"), [("inverted", 0.8), ("unit", 0.2), ("centered", -0.3), ("normalized", -0.6)])
def test_every_scaling_is_fixed_before_the_first_frame(scaling: str, expected: float) -> None:
    pixels = torch.full((2, *FRAMES), 51, dtype=torch.uint8)
    scaled = pixel_scaling(FRAMES, scaling)(pixels)
    assert scaled.dtype == torch.float32
    torch.testing.assert_close(scaled, torch.full(pixels.shape, expected))
    assert (pixels == 51).all(), "the pixels themselves stay"


def test_normalized_uses_each_pixels_mean_and_variance_over_all_frames() -> None:
    scaling = pixel_scaling(FRAMES, "normalized")
    batches = [seen(300), seen(5, seed=1)]  # more frames than one chunk holds
    for batch in batches:
        scaling.observe(batch)
    everything = torch.cat(batches).numpy().astype(np.float64)
    stacks = seen(12, seed=2).reshape(4, *FRAMES)
    expected = (stacks.numpy() - everything.mean(0)) / np.sqrt(everything.var(0) + EPSILON**2)
    torch.testing.assert_close(scaling(stacks), torch.from_numpy(expected.clip(-CLIP, CLIP)).float())


def test_a_constant_pixel_becomes_zero_and_is_clipped_once_it_changes() -> None:
    scaling = pixel_scaling(FRAMES, "normalized")
    scaling.observe(seen(50))
    stacks = seen(3).reshape(1, *FRAMES)
    assert (scaling(stacks)[..., 0, :] == 0).all()
    stacks[..., 0, :] = 255
    assert (scaling(stacks)[..., 0, :] == CLIP).all()


@pytest.mark.parametrize("scaling", ["inverted", "normalized"])
def test_motion_replaces_all_frames_but_the_newest_by_their_differences(scaling: str) -> None:
    plain, moving = pixel_scaling(FRAMES, scaling), pixel_scaling(FRAMES, scaling, 3.0)
    if scaling == "normalized":
        plain.observe(seen(50))
        moving.scale.observe(seen(50))
    stacks = seen(24, seed=3).reshape(2, 4, *FRAMES)
    scaled, expected = plain(stacks), torch.empty(2, 4, *FRAMES)
    for k in range(FRAMES.frames - 1):
        expected[:, :, k] = 3 * (scaled[:, :, k + 1] - scaled[:, :, k])
    expected[:, :, -1] = scaled[:, :, -1]
    torch.testing.assert_close(moving(stacks), expected)


def test_motion_of_still_frames_is_zero_and_one_frame_has_none() -> None:
    still = torch.full((2, *FRAMES), 87, dtype=torch.uint8)
    assert not pixel_scaling(FRAMES, "unit", 5.0)(still)[:, :-1].any()
    with pytest.raises(ValueError, match="motion needs two frames or more; a stack has 1"):
        ViT(FrameShape(1, 1, 20, 20), motion=1.0)


@pytest.mark.parametrize("encoder", [partial(ViT, dim=8, depth=1, heads=2, patch=18, tubelet=3), NatureCNN, Impala, DrQCNN, DERCNN, CNN])
def test_every_encoder_of_images_can_see_motion(encoder: Any) -> None:
    frames = FrameShape(3, 1, 36, 36)
    torch.manual_seed(0)
    plain = encoder(frames, scaling="unit").eval()
    torch.manual_seed(0)
    moving = encoder(frames, scaling="unit", motion=2.0).eval()
    stacks = torch.randint(0, 256, (2, *frames), dtype=torch.uint8)
    differ = stacks.float() / 255
    differ[:, :-1] = 2 * (differ[:, 1:] - differ[:, :-1])
    plain.scale = lambda _: differ
    torch.testing.assert_close(moving(stacks), plain(stacks))


def test_the_statistics_do_not_depend_on_how_frames_are_batched() -> None:
    one, other = (pixel_scaling(FRAMES, "normalized") for _ in range(2))
    one.observe(seen(600))
    for part in seen(600).split(7):
        other.observe(part)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize(
    "encoder", [ViT(FrameShape(3, 1, 40, 40), scaling="normalized"), NatureCNN(FrameShape(3, 1, 40, 40), scaling="normalized")]
)
def test_only_normalized_keeps_statistics_in_the_encoders_state(encoder: torch.nn.Module) -> None:
    fresh = copy.deepcopy(encoder)
    frames = torch.randint(0, 256, (20, 1, 40, 40), dtype=torch.uint8)
    pixels = frames[:3].unsqueeze(0)
    before = encoder(pixels)
    encoder.scale.observe(frames)
    assert not torch.allclose(encoder(pixels), before)
    fresh.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder(pixels), fresh(pixels))
    assert not any("scale" in name for name in ViT(FrameShape(3, 1, 40, 40)).state_dict())


@pytest.mark.parametrize("kind", [NatureCNN, ViT])
def test_state_vectors_are_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="frames of 1 x 4 are state vectors, which `mlp` takes"):
        kind(FrameShape(1, 1, 1, 4), **{"patch": 1, "tubelet": 1} if kind is ViT else {})

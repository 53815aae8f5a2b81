"""SPR's transition model is compared with a reference made of F.conv2d and explicit minibatch statistics."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchrl.data import Bounded, Categorical, TensorSpec

from jepakit.components.encoders.nature_cnn import NatureCNN
from jepakit.components.predictors.conv import ConvPredictor
from jepakit.protocols import FrameShape
from jepakit.testing import check_component

ROWS, CHANNELS, HEIGHT, WIDTH = 6, 4, 2, 3


def make(spec: TensorSpec, **fields: Any) -> ConvPredictor:
    torch.manual_seed(0)
    predictor = ConvPredictor(CHANNELS * HEIGHT * WIDTH, spec, channels=CHANNELS, rows=HEIGHT, **fields)
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)  # includes gain and offset of BatchNorm
    return predictor


def reference(predictor: ConvPredictor, s_x: Tensor, action: Tensor, min_max: bool) -> Tensor:
    w1, b1, gain, offset, w2, b2 = predictor.parameters()
    planes = torch.zeros(ROWS, 3, HEIGHT, WIDTH)
    for b in range(ROWS):
        for i in range(3):
            planes[b, i] = float(action[b] == i) if action.dtype == torch.int64 else action[b, i]
    x = torch.cat((s_x.reshape(ROWS, CHANNELS, HEIGHT, WIDTH), planes), dim=1)
    h = F.conv2d(x, w1, b1, padding=1).clamp(min=0)
    normed = torch.empty_like(h)
    for c in range(CHANNELS):
        mean, variance = h[:, c].mean(), h[:, c].var(correction=0)
        normed[:, c] = (h[:, c] - mean) / (variance + 1e-5).sqrt() * gain[c] + offset[c]
    out = F.conv2d(normed, w2, b2, padding=1).clamp(min=0).reshape(ROWS, -1)
    return torch.stack([(row - row.min()) / (row.max() - row.min()) for row in out]) if min_max else out


@pytest.mark.parametrize("min_max", [False, True])
@pytest.mark.parametrize("spec", [Categorical(3), Bounded(-1, 1, (3,))], ids=["discrete", "continuous"])
def test_conv_is_two_convolutions_over_feature_maps_and_action_planes(spec: TensorSpec, min_max: bool) -> None:
    predictor = make(spec, min_max=min_max)
    s_x, action = torch.rand(ROWS, CHANNELS * HEIGHT * WIDTH), spec.expand(ROWS, *spec.shape).rand()
    torch.testing.assert_close(predictor(s_x, action), reference(predictor, s_x, action, min_max))


def test_conv_recovers_the_encoders_feature_maps() -> None:
    torch.manual_seed(0)
    encoder = NatureCNN(FrameShape(1, 1, 44, 52), dim=None)
    pixels = torch.randint(0, 256, (5, 1, 1, 44, 52), dtype=torch.uint8)
    s_x, maps = encoder(pixels), encoder.convolutions(pixels[:, 0] / 255)
    predictor = ConvPredictor(s_x.shape[1], Categorical(2), rows=2)
    seen: list[Tensor] = []
    predictor.net[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    predictor(s_x, torch.tensor([0, 1, 0, 1, 0]))
    torch.testing.assert_close(seen[0][:, :64], maps)
    assert seen[0][:, 64:].mean(dim=(2, 3)).tolist() == [[1, 0], [0, 1], [1, 0], [0, 1], [1, 0]]


def test_sprs_feature_maps_are_7x7() -> None:
    assert ConvPredictor(3136, Categorical(6)).shape == (64, 7, 7)


@pytest.mark.parametrize(
    ("width", "fields", "message"),
    [
        (100, {}, r"^channels 64 does not divide the embedding's width of 100$"),
        (128, {}, r"^channels 64 of an embedding of width 128 have 2 entries, which are not square: give their rows$"),
        (24, {"channels": 2, "rows": 5}, r"^channels 2 .* have 12 entries, which do not form rows of equal length at rows 5$"),
    ],
)
def test_a_width_that_fits_no_feature_map_is_refused(width: int, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvPredictor(width, Categorical(2), **fields)


def test_conv_follows_the_rules_of_its_slot() -> None:
    check_component("predictor", "conv", channels=4, rows=1)  # conv refuses one of the widths tried, 5

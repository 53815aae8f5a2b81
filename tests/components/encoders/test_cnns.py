"""The convolutional encoders are compared with NumPy references, then tested for what they have in common."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jepakit.components.encoders.cnn import CNN
from jepakit.components.encoders.der_cnn import DERCNN
from jepakit.components.encoders.drq_cnn import DrQCNN
from jepakit.components.encoders.impala import Impala
from jepakit.components.encoders.nature_cnn import NatureCNN
from jepakit.protocols import FrameShape

SMALLEST = {NatureCNN: 36, DrQCNN: 15, Impala: 1, DERCNN: 25}
KINDS = list(SMALLEST)
Array = np.ndarray[Any, Any]


def make(kind: Any, frames: FrameShape, **fields: Any) -> nn.Module:
    """An encoder with non-zero biases."""
    torch.manual_seed(0)
    encoder = kind(frames, **fields)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return encoder


def random_pixels(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def weights(encoder: nn.Module) -> list[Array]:
    """All parameters in the order of the layers: weight, bias, weight, bias ..."""
    return [parameter.detach().double().numpy() for parameter in encoder.parameters()]


def convolve(image: Array, weight: Array, bias: Array, stride: int = 1, padding: int = 0) -> Array:
    """Convolve ``image`` [C, H, W] window by window into [C', H', W']."""
    image = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    side = weight.shape[-1]
    rows, columns = ((length - side) // stride + 1 for length in image.shape[1:])
    out = np.zeros((len(weight), rows, columns))
    for i in range(rows):
        for j in range(columns):
            window = image[:, i * stride : i * stride + side, j * stride : j * stride + side]
            out[:, i, j] = np.tensordot(weight, window, axes=3) + bias
    return out


def max_pool(image: Array) -> Array:
    """Maximum of 3x3 windows with stride 2. The first window is centred on the first pixel."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    rows, columns = ((length + 1) // 2 for length in image.shape[1:])
    pooled = [[padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2)) for j in range(columns)] for i in range(rows)]
    return np.array(pooled).transpose(2, 0, 1)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def nature(image: Array, w: list[Array]) -> Array:
    image = relu(convolve(image, w[0], w[1], stride=4))
    image = relu(convolve(image, w[2], w[3], stride=2))
    image = relu(convolve(image, w[4], w[5]))
    return relu(w[6] @ image.reshape(-1) + w[7]) if w[6:] else image.reshape(-1)


def der(image: Array, w: list[Array]) -> Array:
    image = relu(convolve(image, w[0], w[1], stride=5))
    image = relu(convolve(image, w[2], w[3], stride=5)).reshape(-1)
    return relu(w[4] @ image + w[5]) if w[4:] else image


def drq(image: Array, w: list[Array], tanh: bool) -> Array:
    image = relu(convolve(image, w[0], w[1], stride=2))
    for k in (2, 4, 6):
        image = relu(convolve(image, w[k], w[k + 1]))
    flat = w[8] @ image.reshape(-1) + w[9]
    normed = (flat - flat.mean()) / np.sqrt(flat.var() + 1e-5) * w[10] + w[11]
    return np.tanh(normed) if tanh else normed


def impala(image: Array, w: list[Array]) -> Array:
    layers = iter(w)
    for _ in range(3):
        image = max_pool(convolve(image, next(layers), next(layers), padding=1))
        for _ in range(2):
            inner = convolve(relu(image), next(layers), next(layers), padding=1)
            image = image + convolve(relu(inner), next(layers), next(layers), padding=1)
    return relu(next(layers) @ relu(image).reshape(-1) + next(layers))


@pytest.mark.parametrize("size", [(36, 36), (41, 52)])
def test_nature_is_three_convolutions_and_a_linear_layer(size: tuple[int, int]) -> None:
    pixels = random_pixels(2, 2, 3, *size)
    encoder = make(NatureCNN, FrameShape(2, 3, *size), dim=7)
    expected = [nature(stack.reshape(6, *size) / 255, weights(encoder)) for stack in pixels.numpy()]
    np.testing.assert_allclose(encoder(pixels).detach().numpy(), expected, rtol=1e-3, atol=1e-5)
    assert [p.shape[0] for p in encoder.parameters()] == [32, 32, 64, 64, 64, 64, 7, 7]


@pytest.mark.parametrize("min_max", [False, True])
def test_nature_without_its_linear_layer_returns_the_feature_map(min_max: bool) -> None:
    pixels = random_pixels(3, 2, 1, 44, 52)
    encoder = make(NatureCNN, FrameShape(2, 1, 44, 52), dim=None, min_max=min_max)
    expected = [nature(stack.reshape(2, 44, 52) / 255, weights(encoder)) for stack in pixels.numpy()]
    assert expected[0].shape == (64 * 2 * 3,)
    if min_max:
        expected = [(s - s.min()) / (s.max() - s.min()) for s in expected]
    np.testing.assert_allclose(encoder(pixels).detach().numpy(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dim", [None, 7])
def test_der_is_two_convolutions_and_an_optional_linear_layer(dim: int | None) -> None:
    pixels = random_pixels(2, 2, 3, 25, 57)
    encoder = make(DERCNN, FrameShape(2, 3, 25, 57), dim=dim)
    expected = [der(stack.reshape(6, 25, 57) / 255, weights(encoder)) for stack in pixels.numpy()]
    np.testing.assert_allclose(encoder(pixels).detach().numpy(), expected, rtol=1e-3, atol=1e-5)
    assert [p.shape[0] for p in encoder.parameters()] == [32, 32, 64, 64, *([7, 7] if dim else [])]


@pytest.mark.parametrize(("size", "tanh"), [((15, 15), True), ((20, 17), False)])
def test_drq_is_four_convolutions_and_a_trunk(size: tuple[int, int], tanh: bool) -> None:
    pixels = random_pixels(2, 3, 1, *size)
    encoder = make(DrQCNN, FrameShape(3, 1, *size), dim=6, tanh=tanh)
    expected = [drq(stack.reshape(3, *size) / 255 - 0.5, weights(encoder), tanh) for stack in pixels.numpy()]
    np.testing.assert_allclose(encoder(pixels).detach().numpy(), expected, rtol=1e-3, atol=1e-4)
    assert [p.shape[0] for p in encoder.parameters()] == [32] * 8 + [6] * 4


@pytest.mark.parametrize(("size", "width"), [((2, 1), 1), ((9, 16), 1), ((5, 7), 2)])
def test_impala_is_three_residual_sections(size: tuple[int, int], width: int) -> None:
    pixels = random_pixels(2, 2, 1, *size)
    encoder = make(Impala, FrameShape(2, 1, *size), dim=5, width=width)
    expected = [impala(stack.reshape(2, *size) / 255, weights(encoder)) for stack in pixels.numpy()]
    np.testing.assert_allclose(encoder(pixels).detach().numpy(), expected, rtol=1e-3, atol=1e-5)
    outputs = [p.shape[0] for p in encoder.parameters() if p.ndim == 4]
    assert outputs == [16 * width] * 5 + [32 * width] * 10


@pytest.mark.parametrize(("kind", "flat", "dim"), [(NatureCNN, 64 * 7 * 7, 512), (DrQCNN, 32 * 35 * 35, 50), (Impala, 32 * 11 * 11, 256)])
def test_widths_at_84x84_match_the_papers(kind: Any, flat: int, dim: int) -> None:
    encoder = kind(FrameShape(4, 1, 84, 84))
    (linear,) = (module for module in encoder.modules() if isinstance(module, nn.Linear))
    assert linear.weight.shape == (dim, flat)
    assert encoder(random_pixels(4, 1, 84, 84)).shape == (dim,)


@pytest.mark.parametrize(("kind", "width"), [(NatureCNN, 64 * 7 * 7), (DERCNN, 64 * 3 * 3)])
def test_feature_maps_at_84x84_match_the_papers(kind: Any, width: int) -> None:
    assert kind(FrameShape(4, 1, 84, 84), dim=None)(random_pixels(4, 1, 84, 84)).shape == (width,)


@pytest.mark.parametrize("kind", [NatureCNN, DrQCNN, DERCNN])
@pytest.mark.parametrize("short", ["height", "width"])
def test_frames_that_are_too_small_are_refused(kind: Any, short: str) -> None:
    least = SMALLEST[kind]
    frames = FrameShape(1, 1, 50, 50)._replace(**{short: least - 1})
    with pytest.raises(ValueError, match=rf"frames of {frames.height}x{frames.width} pixels are too small .* at least {least}x{least}$"):
        kind(frames)
    kind(frames._replace(**{short: least}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (0,), (2, 0)])
def test_any_leading_dimensions_are_accepted(kind: Any, leading: tuple[int, ...]) -> None:
    frames = FrameShape(2, 3, 36, 40)
    encoder, pixels = make(kind, frames, dim=5), random_pixels(*leading, *frames)
    one_by_one = [encoder(stack) for stack in pixels.reshape(-1, *frames)]
    torch.testing.assert_close(encoder(pixels), torch.stack(one_by_one).reshape(*leading, 5) if one_by_one else torch.empty(*leading, 5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scaling", "white", "black"), [("inverted", 0.0, 1.0), ("unit", 1.0, 0.0), ("centered", 0.5, -0.5)])
def test_each_scaling_maps_white_and_black_to_its_limits(kind: Any, scaling: str, white: float, black: float) -> None:
    frames = FrameShape(1, 1, 36, 36)
    encoder = make(kind, frames, scaling=scaling)
    seen: list[Tensor] = []
    next(module for module in encoder.modules() if isinstance(module, nn.Conv2d)).register_forward_pre_hook(lambda _, i: seen.append(i[0]))
    encoder(torch.full((1, *frames), 255, dtype=torch.uint8))
    encoder(torch.zeros(1, *frames, dtype=torch.uint8))
    assert [(x.min().item(), x.max().item()) for x in seen] == [(white, white), (black, black)]


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_stays_close_to_fp32_and_trains_every_parameter(kind: Any) -> None:
    frames = FrameShape(2, 1, 36, 36)
    encoder, pixels = make(kind, frames, dim=16), random_pixels(8, *frames)
    exact = encoder(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = encoder(pixels).float()
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).norm() < 0.05 * exact.norm()
    rounded.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_drqs_initial_weights_are_orthogonal() -> None:
    torch.manual_seed(0)
    encoder = DrQCNN(FrameShape(3, 3, 20, 20), dim=6)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            w = module.weight.detach().flatten(1)
            gain = 2.0 if isinstance(module, nn.Conv2d) else 1.0
            torch.testing.assert_close(w @ w.T, gain * torch.eye(len(w)), rtol=0, atol=1e-5)
            assert not module.bias.any()


def test_plain_convolutions_have_the_sizes_asked_for_and_a_last_layer_without_relu() -> None:
    frames = FrameShape(2, 1, 20, 16)
    encoder, pixels = make(CNN, frames, layers=((3, 6, 3), (4, 2, 1)), hidden=(5,), dim=7), random_pixels(3, *frames)
    first, first_bias, second, second_bias, inner, inner_bias, last, last_bias = weights(encoder)
    found = encoder(pixels)
    for row in range(3):
        maps = np.maximum(convolve(pixels[row, :, 0].double().numpy() / 255, first, first_bias, stride=3), 0)
        maps = np.maximum(convolve(maps, second, second_bias), 0)
        expected = last @ np.maximum(inner @ maps.flatten() + inner_bias, 0) + last_bias
        np.testing.assert_allclose(found[row].detach(), expected, atol=1e-5)
    assert found.min() < 0
    with pytest.raises(ValueError, match="at least 9x9"):
        CNN(FrameShape(1, 1, 8, 9), layers=((3, 6, 3), (4, 2, 1)))

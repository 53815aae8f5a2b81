import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jepakit.components.shared.frames import to_frame


def triangle(source: int, target: int) -> np.ndarray:
    """Antialiased bilinear resizing along one axis, [target, source], from its definition: a triangle as wide as one target pixel."""
    scale = source / target
    support = max(scale, 1.0)
    centers = (np.arange(target)[:, None] + 0.5) * scale
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(source)[None] + 0.5 - centers) / support)
    return weights / weights.sum(1, keepdims=True)


sides = st.integers(1, 40)


@given(st.integers(0, 2**32 - 1), sides, sides, sides, sides)
def test_resizing_matches_its_definition(seed: int, height: int, width: int, new_height: int, new_width: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exact = np.einsum("yh,xw,hwc->cyx", triangle(height, new_height), triangle(width, new_width), rgb)

    colour = to_frame(rgb, (new_height, new_width), grayscale=False)
    assert colour.dtype == torch.uint8
    assert colour.shape == (3, new_height, new_width)
    assert np.abs(colour.numpy() - exact).max() <= 1.6  # one rounding for each of the two axes

    luma = np.tensordot([0.299, 0.587, 0.114], exact, 1)
    gray = to_frame(rgb, (new_height, new_width), grayscale=True)
    assert gray.dtype == torch.uint8
    assert gray.shape == (1, new_height, new_width)
    assert np.abs(gray[0].numpy() - luma).max() <= 2.1  # and one more for the grey


@given(st.integers(0, 2**32 - 1), sides, sides)
def test_an_unresized_frame_is_the_image_or_its_rounded_luma(seed: int, height: int, width: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for size in (None, (height, width)):
        assert np.array_equal(to_frame(rgb, size, grayscale=False), rgb.transpose(2, 0, 1))
        luma = np.tensordot(rgb, [0.299, 0.587, 0.114], 1)
        assert np.abs(to_frame(rgb, size, grayscale=True)[0].numpy() - luma).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(("shade", "gray"), [((255, 255, 255), 255), ((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29)])
def test_luma_of_known_colours(shade: tuple[int, int, int], gray: int) -> None:
    assert (to_frame(np.full((8, 8, 3), shade, dtype=np.uint8), (4, 4), grayscale=True) == gray).all()


@pytest.mark.filterwarnings("error")
def test_accepts_the_memory_layouts_of_simulators() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    expected = to_frame(rgb, (8, 8), grayscale=True)
    upside_down = rgb[::-1].copy()[::-1]  # MuJoCo's layout: a negative stride
    column_major = rgb.transpose(1, 0, 2).copy().transpose(1, 0, 2)  # pygame's layout
    read_only = rgb.copy()
    read_only.flags.writeable = False
    for image in (upside_down, column_major, read_only):
        assert torch.equal(to_frame(image, (8, 8), grayscale=True), expected)

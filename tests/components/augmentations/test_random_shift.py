import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.components.augmentations.random_shift import RandomShift
from jepakit.protocols import FrameShape


def shifted(image: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Pads by replication and crops, one pixel at a time."""
    height, width = image.shape
    out = np.empty_like(image)
    for i in range(height):
        for j in range(width):
            out[i, j] = image[min(max(i + dy, 0), height - 1), min(max(j + dx, 0), width - 1)]
    return out


def shifts_that_explain(before: torch.Tensor, after: torch.Tensor, pad: int) -> list[tuple[int, int]]:
    """Every (dy, dx) that turns all images of the stack ``before`` into those of ``after``."""
    images = list(zip(before.flatten(0, 1).numpy(), after.flatten(0, 1).numpy(), strict=True))
    reach = range(-pad, pad + 1)
    return [(dy, dx) for dy in reach for dx in reach if all(np.array_equal(shifted(a, dy, dx), b) for a, b in images)]


@settings(max_examples=25)
@given(
    batch=st.integers(1, 4),
    frames=st.builds(FrameShape, st.integers(1, 3), st.integers(1, 3), st.integers(2, 9), st.integers(1, 9)),
    pad=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_each_stack_is_padded_by_replication_and_cropped_as_a_whole(batch: int, frames: FrameShape, pad: int, seed: int) -> None:
    torch.manual_seed(seed)
    pixels = torch.randint(0, 256, (batch, *frames), dtype=torch.uint8)
    before = pixels.clone()
    out = RandomShift(frames, pad=pad)(pixels)
    assert out.dtype == torch.uint8
    assert out.shape == pixels.shape
    assert torch.equal(pixels, before)
    assert all(shifts_that_explain(a, b, pad) for a, b in zip(pixels, out, strict=True))


def test_shifts_are_uniform_and_differ_between_stacks() -> None:
    torch.manual_seed(0)
    frames, pad, batch = FrameShape(1, 1, 9, 9), 2, 5000
    ruler = torch.arange(81, dtype=torch.uint8).view(1, 1, 9, 9)
    centre = RandomShift(frames, pad=pad)(ruler.expand(batch, -1, -1, -1, -1))[:, 0, 0, 4, 4].int() - 40  # 9·dy + dx
    found, counts = centre.unique(return_counts=True)
    assert sorted(found.tolist()) == sorted(9 * dy + dx for dy in range(-2, 3) for dx in range(-2, 3))
    assert counts.min() > batch / 25 * 0.75
    assert counts.max() < batch / 25 * 1.25


def test_the_papers_pad_is_the_default() -> None:
    torch.manual_seed(0)
    ruler = torch.arange(20, dtype=torch.uint8).view(1, 1, 1, 20).expand(500, 1, 1, 2, 20)
    moved = RandomShift(FrameShape(1, 1, 2, 20))(ruler)[..., 0, 10].int() - 10
    assert (moved.min(), moved.max()) == (-4, 4)


def test_draws_from_the_global_generator() -> None:
    pixels, shift = torch.randint(0, 256, (16, 3, 1, 8, 12), dtype=torch.uint8), RandomShift(FrameShape(3, 1, 8, 12))
    torch.manual_seed(1)
    first, second = shift(pixels), shift(pixels)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(shift(pixels), first)


def test_accepts_noncontiguous_stacks() -> None:
    wide = torch.randint(0, 256, (4, 6, 1, 8, 12), dtype=torch.uint8)
    shift = RandomShift(FrameShape(3, 1, 8, 12))
    torch.manual_seed(1)
    expected = shift(wide[:, ::2].contiguous())
    torch.manual_seed(1)
    assert torch.equal(shift(wide[:, ::2]), expected)


def test_refuses_state_vectors() -> None:
    with pytest.raises(ValueError, match=r"^random_shift needs images; frames of 1 x 4 are state vectors"):
        RandomShift(FrameShape(3, 1, 1, 4))

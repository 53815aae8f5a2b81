import pytest
import torch

from jepakit.components.augmentations.intensity import Intensity
from jepakit.protocols import FrameShape

FRAMES = FrameShape(2, 3, 4, 5)


@pytest.mark.parametrize("scale", [0.0, 0.05, 0.5])
def test_each_stack_is_scaled_by_its_own_factor_rounded_and_clipped(scale: float) -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (12, *FRAMES), dtype=torch.uint8)
    before = pixels.clone()
    torch.manual_seed(1)
    out = Intensity(FRAMES, scale=scale)(pixels)
    torch.manual_seed(1)
    z = torch.randn(12)

    assert out.dtype == torch.uint8
    assert torch.equal(pixels, before)
    for stack, changed, draw in zip(pixels, out, z.tolist(), strict=True):
        factor = 1 + scale * min(max(draw, -2), 2)
        for x, y in zip(stack.flatten().tolist(), changed.flatten().tolist(), strict=True):
            assert y == pytest.approx(min(x * factor, 255), abs=0.5001)


def test_the_default_factor_is_one_plus_a_twentieth_of_a_clipped_normal() -> None:
    torch.manual_seed(0)
    changed = Intensity(FRAMES)(torch.full((4000, *FRAMES), 200, dtype=torch.uint8))
    assert (changed.flatten(1) == changed.flatten(1)[:, :1]).all(), "a stack has one factor"
    factors = changed[:, 0, 0, 0, 0].float() / 200
    assert factors.min() == 0.9
    assert factors.max() == 1.1
    assert factors.mean().item() == pytest.approx(1, abs=0.003)
    assert factors.std().item() == pytest.approx(0.05 * 0.96, abs=0.002)  # of a normal clipped at two standard deviations
    assert (factors.max() == factors).float().mean() > 0.015  # values beyond two standard deviations are clipped, not drawn again


def test_refuses_state_vectors() -> None:
    with pytest.raises(ValueError, match=r"^intensity needs images; frames of 1 x 4 are state vectors"):
        Intensity(FrameShape(3, 1, 1, 4))

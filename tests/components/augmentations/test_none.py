import torch

from jepakit.components.augmentations.none import NoAugmentation


def test_changes_no_pixel_and_draws_no_random_number() -> None:
    pixels = torch.randint(0, 256, (2, 3, 1, 4, 5), dtype=torch.uint8)
    before = torch.get_rng_state()
    assert torch.equal(NoAugmentation()(pixels), pixels)
    assert torch.equal(torch.get_rng_state(), before)

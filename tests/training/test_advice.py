"""The advice on a collapse fits the recipe and its frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jepakit.diagnostics.frames import changing_share, frame_figures
from jepakit.recipe import load_recipe
from jepakit.training.advice import advice, scaling_advice


@pytest.mark.parametrize(
    ("background", "overrides", "expected"),
    [
        (
            255,
            ["encoder.scaling=unit"],
            "with `scaling: unit` on a background of 255 of 255: try `encoder.scaling=inverted`, which makes that 94%",
        ),
        (0, [], "try `encoder.scaling=unit`"),
        (127, [], "try `encoder.scaling=centered`"),
        (87, [], "try `encoder.scaling=normalized`"),  # no fixed scaling makes such a background zero
        (87, ["encoder.scaling=normalized"], "try `regularizers="),
        (255, [], "try `regularizers="),  # the scaling is right, so the cause is another
        (127, ["encoder.scaling=centered"], "try `regularizers="),
        (255, ["regularizers=[{kind: vicreg}]"], "try a lower `optimizer.lr`"),
        (0, ["encoder={kind: mlp}"], "try `regularizers="),  # an encoder without scaling
    ],
)
def test_the_advice_fits_the_recipe_and_its_frames(tmp_path: Path, background: int, overrides: list[str], expected: str) -> None:
    (tmp_path / "recipe.yaml").write_text("env: {kind: gym, id: CartPole-v1}\n")
    assert expected in advice(load_recipe(tmp_path / "recipe.yaml", overrides), moving_dots(background))


def moving_dots(background: int, dots: int = 1) -> Tensor:
    """Stacks [2, 16, K, C, H, W] with a plain background and pixels of another level, which move from stack to stack."""
    pixels = torch.full((2, 16, 3, 1, 8, 12), background, dtype=torch.uint8)
    columns = torch.arange(32).reshape(2, 16) % 12
    for stack, column in zip(pixels.flatten(0, 1), columns.flatten(), strict=True):
        stack[:, :, :dots, column] = 33
    return pixels


def test_the_changing_share_is_variance_over_mean_square() -> None:
    inputs = np.random.default_rng(0).normal(0.5, [0.1, 0.0, 2.0], size=(40, 3))
    expected = inputs.var(axis=0, ddof=1).mean() / (inputs**2).mean()
    assert changing_share(torch.from_numpy(inputs)) == pytest.approx(expected)
    assert changing_share(torch.zeros(5, 3)) == 0.0


def test_frame_figures_are_background_changing_share_and_variance() -> None:
    frames = torch.full((10, 1, 4, 5), 87, dtype=torch.uint8)
    frames[::2, 0, 1, 2] = 0
    background, changing, variance = frame_figures(frames)
    assert (background, changing) == (87, pytest.approx(1 / 20))
    assert variance == pytest.approx(np.var([0, 87 / 255] * 5, ddof=1) / 20)


def test_still_frames_get_no_scaling_advice(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("env: {kind: gym, id: CartPole-v1}\n")
    recipe = load_recipe(tmp_path / "recipe.yaml", ["encoder.scaling=unit"])
    assert scaling_advice(recipe, torch.full((20, 1, 8, 12), 200, dtype=torch.uint8)) == ""

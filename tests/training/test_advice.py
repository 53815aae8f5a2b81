"""The advice on a collapse fits the recipe and its frames."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jepakit.recipe import load_recipe
from jepakit.training.advice import advice


@pytest.mark.parametrize(
    ("background", "overrides", "expected"),
    [
        (255, ["encoder.scaling=unit"], "try `encoder.scaling=inverted`"),
        (0, [], "try `encoder.scaling=unit`"),
        (120, [], "most pixels are 120 of 255, and the encoder sees 0.53 there with `scaling: inverted`: try `encoder.scaling=centered`"),
        (255, [], "try `regularizers="),  # the scaling is right: it is something else
        (120, ["encoder.scaling=centered"], "try `regularizers="),
        (255, ["regularizers=[{kind: vicreg}]"], "try a lower `optimizer.lr`"),
        (0, ["encoder={kind: mlp}"], "try `regularizers="),  # an encoder without scaling
    ],
)
def test_the_advice_fits(tmp_path: Path, background: int, overrides: list[str], expected: str) -> None:
    (tmp_path / "recipe.yaml").write_text("env: {kind: gym, id: CartPole-v1}\n")
    pixels = torch.full((2, 4, 3, 1, 8, 12), background, dtype=torch.uint8)
    pixels[..., :3] = 33
    assert expected in advice(load_recipe(tmp_path / "recipe.yaml", overrides), pixels)

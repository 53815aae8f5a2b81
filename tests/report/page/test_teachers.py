"""What trains an encoder, read off recipes as jepakit writes them."""

from __future__ import annotations

import pytest
import yaml

from jepakit.recipe import dump, load_recipe
from jepakit.report.page.teachers import teachers

RECONSTRUCTION = "auxiliary=[{kind: reconstruction}]"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "JEPA + rewards"),
        (["jepa=null"], "rewards"),
        (["jepa=null", RECONSTRUCTION], "rewards + reconstruction"),
        (["jepa=null", RECONSTRUCTION, "algorithm.gradients_to_encoder=false"], "reconstruction"),
        (["regularizers=[{kind: variance}]", "algorithm.gradients_to_encoder=false"], "JEPA + the variance regularizer"),
        (["regularizers=[{kind: variance, weight: 0.0}]", "jepa.weight=0"], "rewards"),
        (["jepa=null", "algorithm.gradients_to_encoder=false"], "nothing: its weights stay as they began"),
        (["algorithm={kind: none}", "regularizers=[{kind: variance}]", "jepa.weight=1"], "JEPA + the variance regularizer"),
        (["encoder.frozen=true", "jepa=null"], "nothing: its weights stay as they began"),
    ],
)
def test_the_terms_that_reach_the_encoder_are_named(overrides: list[str], words: str) -> None:
    stored = yaml.safe_load(dump(load_recipe("paper/jepa_for_rl", overrides)))
    assert teachers(stored).words == words

"""What measures an embedding leaves the encoder as it is."""

from __future__ import annotations

import torch
from torch import nn

from jepakit.training.update.spread import trusted_spread


def test_measuring_a_collapsed_embedding_in_bf16_changes_no_statistics_and_draws_nothing() -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(6), nn.Dropout(0.5))
    pixels = torch.rand(8, 6)
    before, drawn = {name: value.clone() for name, value in encoder.state_dict().items()}, torch.get_rng_state()
    found = trusted_spread(torch.ones(8, 6), pixels, encoder, "bf16")
    assert found.variance > 0, "of the encoder's own embeddings, as those given have collapsed"
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert encoder.training

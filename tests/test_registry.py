"""The registry: what a constructor's signature gives, and what cannot be registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jepakit import registry
from jepakit.registry import build, register
from pydantic import PositiveInt

if TYPE_CHECKING:
    from somewhere import Nothing


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_table", {})


def test_the_signature_is_split_at_its_star() -> None:
    @register("encoder", "split")
    class Split:
        def __init__(self, frames: Nothing, *, width: PositiveInt = 32) -> None:
            self.frames, self.width = frames, width

    config = registry._table["encoder", "split"].fields.model_validate_json('{"width": 3}')
    made = build("encoder", config, frames="shape", embedding_width=8)
    assert (made.frames, made.width) == ("shape", 3)

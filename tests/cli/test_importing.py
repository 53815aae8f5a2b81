"""A verb's imports pause the garbage collector, and nothing after them does."""

from __future__ import annotations

import gc

import pytest

from jepakit.cli.importing import importing


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_paused_for_imports_and_then_as_before(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with importing():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
        with pytest.raises(ImportError), importing():
            raise ImportError
        assert gc.isenabled() == enabled
    finally:
        gc.enable() if before else gc.disable()

"""Tests of the collector `my_component`."""

from pathlib import Path

from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "collector.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("collector", MyComponent)


def test_it_waits_for_no_worker() -> None:
    """The rules do not cover this. Replace this test with one for your collector's behaviour."""
    collector = MyComponent(pause=0.5)
    assert (collector.pause, collector.workers, collector.lags) == (0.5, 1, False)

"""Tests of the source `my_component`."""

from pathlib import Path

from jepakit import FrameShape
from jepakit.testing import check_component, load_file
from torchrl.data import Categorical

MyComponent = load_file(Path(__file__).parents[1] / "source.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("source", MyComponent)


def test_every_episode_has_its_length() -> None:
    """The rules do not cover this. Replace this test with one for your source's behaviour."""
    recording = MyComponent(FrameShape(3, 1, 8, 12), Categorical(2), episodes=3, length=5).load()
    assert recording.done.sum() == 3
    assert len(recording.frames) == 18

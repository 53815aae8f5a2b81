"""Tests of the sink `my_component`."""

from pathlib import Path

from jepakit import MirroredRun
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "sink.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("sink", MyComponent)


def test_a_resumed_run_writes_each_record_once(tmp_path: Path) -> None:
    """The rules do not cover this. Replace this test with one for your sink's behaviour."""
    for held, steps in ((0, (10, 20, 30)), (20, (30, 40))):
        sink = MyComponent(tmp_path, metric="loss/jepa")
        assert sink.begin(MirroredRun("id", "name", {}, held, {})) == held
        for env_steps in steps:
            sink.metrics({"loss/jepa": env_steps / 2}, env_steps, 0.0)
        sink.end(None)
    assert (tmp_path / "my_component.txt").read_text().split("\n")[:-1] == ["10 5.0", "20 10.0", "30 15.0", "40 20.0"]

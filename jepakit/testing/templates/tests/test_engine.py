"""Tests of the engine `my_component`."""

from pathlib import Path

from jepakit.protocols import Job
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "engine.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("engine", MyComponent)


def test_a_process_has_the_lower_priority(tmp_path: Path) -> None:
    """The rules do not cover this. Replace this test with one for your engine's behaviour."""
    engine = MyComponent(niceness=7)
    job = Job("a", ("--version",), (), tmp_path / "run", tmp_path, tmp_path / "log", cpus=1, gpus=0)
    (going,) = engine.start([job])
    assert going.process.args[:3] == ["nice", "-n", "7"]
    going.kill()

"""Code that is edited after a run has trained with it: whoever goes on with the run or its weights is told."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jepakit.agent.evaluate import evaluate
from jepakit.registry import plugins
from jepakit.training.run import resume, run

SMALL = {"total_steps": 64, "env.num_envs": 2, "algorithm.rollout_steps": 16, "threads": 1, "algorithm.minibatch_size": 16}
WRAPPER = """\
import gymnasium

class Less(gymnasium.RewardWrapper):
    def reward(self, reward):
        return reward / {}
"""
EDITED = "code that the recipe uses (a plug-in, a wrapper or a component's class) was edited since"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    monkeypatch.syspath_prepend(tmp_path)

    def call(divisor: int) -> None:
        (tmp_path / "lessened.py").write_text(WRAPPER.format(divisor))
        for known in (sys.modules, plugins._importable):  # as in a new process
            monkeypatch.delitem(known, "lessened", raising=False)  # type: ignore[arg-type]
        importlib.invalidate_caches()

    return call


def test_whoever_goes_on_with_a_run_is_told(tmp_path: Path, write: Callable[[int], None], capsys: pytest.CaptureFixture[str]) -> None:
    write(2)
    path = run("cartpole_pixels", overrides=SMALL | {"env.wrappers": [{"path": "lessened:Less"}]}, out=tmp_path / "run", quiet=True).path
    cut = shutil.copytree(path, tmp_path / "cut")
    shutil.rmtree(sorted((cut / "checkpoints").iterdir())[-1])
    (cut / "summary.json").unlink()
    told: list[str] = []
    evaluate(path, 1, trust=True, warn=told.append)
    assert told == []

    write(4)
    evaluate(path, 1, trust=True, warn=told.append)
    assert told == [f"{EDITED} {path} began: its weights now run in other code than they were trained in"]

    with pytest.warns(UserWarning, match="the longer run goes on with the new code"):
        child = resume(path, total_steps=128, trust=True, quiet=True).path
    assert EDITED in (child / "events.jsonl").read_text()
    sources = [json.loads((folder / "provenance.json").read_text())["sources"] for folder in (path, child)]
    assert sources[0] != sources[1]
    evaluate(child, 1, trust=True, warn=told.append)
    assert len(told) == 1

    resume(cut, trust=True, quiet=True)
    err = capsys.readouterr().err
    assert f"{EDITED} the run began: the result will belong to neither version" in err
    assert "recipe.yaml was edited" not in err


ENCODER = """\
from torch import nn
from jepakit import register
from jepakit.components.encoders.vit import ViT

@register("encoder", "scaled_vit")
class ScaledViT(ViT):
    def __init__(self, frames, **fields):
        super().__init__(frames, **fields)

    def forward(self, pixels):
        return super().forward(pixels) * {}
"""


def test_weights_that_begin_in_other_code_than_they_were_trained_in_are_told(tmp_path: Path) -> None:
    plugin = tmp_path / "scaled.py"
    kind = {"plugins": [str(plugin)], "encoder.kind": "scaled_vit", "encoder.patch": 20}
    plugin.write_text(ENCODER.format(1))
    first = run("cartpole_pixels", overrides=SMALL | kind, out=tmp_path / "first", quiet=True).path
    told = []
    for factor, name in ((1, "same"), (2, "other")):
        plugin.write_text(ENCODER.format(factor))
        begun = run("cartpole_pixels", overrides=SMALL | kind | {"encoder.checkpoint": str(first)}, out=tmp_path / name, quiet=True)
        told.append((begun.path / "events.jsonl").read_text())
    wanted = "`encoder.checkpoint` holds weights of a run that began with other code of `scaled_vit`"
    assert [wanted in each for each in told] == [False, True]

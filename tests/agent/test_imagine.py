"""`jepakit imagine`: the predictor's roll-outs beside what happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import jepakit
from jepakit.agent.imagination import decoder, pictures
from jepakit.agent.imagination.imagine import imagine
from jepakit.agent.imagination.played import Played, play
from jepakit.agent.imagination.rollouts import errors, roll_out
from jepakit.agent.trained import looking_ahead, opened
from jepakit.cli.imagine import command
from jepakit.errors import UserError
from jepakit.machine.generators import generators
from jepakit.training.monitoring.quiet import quietly

SMALL = {"total_steps": 100, "env.num_envs": 2, "threads": 1, "diagnostics": []}
ON = SMALL | {"algorithm.rollout_steps": 50, "algorithm.minibatch_size": 50, "algorithm.epochs": 1}
PROJECTED = {"jepa.predictor": {"kind": "transformer", "dim": 8, "heads": 2, "depth": 1}, "jepa.projector": {"kind": "linear", "dim": 8}}


@pytest.fixture(autouse=True, scope="module")
def short_fit() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "UPDATES", 30)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jepakit.run("cartpole_pixels", overrides=ON, out=tmp_path_factory.mktemp("run") / "mine", quiet=True).path


@pytest.fixture(scope="module")
def projected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jepakit.run("pendulum_pixels", overrides=ON | PROJECTED, out=tmp_path_factory.mktemp("run") / "it", quiet=True).path


def test_it_writes_a_film_a_strip_and_a_curve(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    command(trained, ahead=6, steps=200, seed=3)
    assert all(path.read_bytes() == content for path, content in files.items())  # the run is as it was

    printed, found = capsys.readouterr().out, json.loads((trained / "imagine" / "imagine.json").read_text())
    assert "imagined" in printed
    assert found["k"] == [1, 2, 3, 4, 5, 6]
    assert (found["horizon"], found["space"], found["seed"]) == (2, "s_x", 3)
    for name in ("predicted", "copied", "mean"):
        assert all(value > 0 for value in found[name])
    assert found["copied"][0] < found["copied"][-1]  # the farther, the less it is as at the start
    for name in found["files"]:
        assert (trained / "imagine" / name).stat().st_size > 1000
    strip = np.asarray(Image.open(trained / "imagine" / "imagined.png").convert("L"))
    assert (strip < 100).any()

    before = generators()
    again = imagine(trained, trained / "again", 6, 200, 3)
    after = generators()
    assert again == found
    assert torch.equal(before.pop("torch"), after.pop("torch"))
    assert before == after


@pytest.mark.parametrize("name", ["trained", "projected"])
def test_errors_match_a_slow_loop(name: str, request: pytest.FixtureRequest) -> None:
    """Through a transformer and a projector as well as step by step."""
    run = request.getfixturevalue(name)
    with opened(run, best=False, trust=False, warn=print) as (_, env, learner, _), quietly(learner.parts):
        jepa = looking_ahead(learner)
        played = play(env, learner, jepa, 60, 0)
        found = errors(roll_out(jepa, played, 4, "cpu"), played, torch.ones(played[0].s_y.shape[-1]), 4)
        assert sum(len(each.actions) for each in played) >= 58

        everything = torch.cat([each.s_y for each in played]).double()
        variance = (everything - everything.mean(dim=0)).square().sum(dim=1).mean().item()
        for k in range(1, 5):
            missed: dict[str, list[float]] = {"predicted": [], "copied": [], "mean": []}
            for each in played:
                for start in range(len(each.actions) - k + 1):
                    s = each.s_x[start : start + 1]
                    taken = each.actions[start : start + k]
                    if hasattr(jepa.predictor, "unroll"):
                        s = jepa.predictor.unroll(s, taken[None])[:, -1]
                    else:
                        for action in taken:
                            s = jepa.predictor(s, action[None])
                    happened = each.s_y[start + k]
                    missed["predicted"].append((jepa.projected(s)[0] - happened).square().sum().item())
                    missed["copied"].append((each.s_y[start] - happened).square().sum().item())
                    missed["mean"].append((1 - happened).square().sum().item())
            assert found["rollouts"][k - 1] == len(missed["mean"])
            for source, values in missed.items():
                assert found[source][k - 1] == pytest.approx(np.mean(values) / variance, rel=1e-3)


def test_steps_of_two_episodes_are_never_one_roll_out(trained: Path) -> None:
    """Each episode ends with its true last frame, and the next begins with the first frames that the env shows."""
    with opened(trained, best=False, trust=False, warn=print) as (_, env, learner, _), quietly(learner.parts):
        played = play(env, learner, looking_ahead(learner), 120, 0)
        assert len(played) > 2
        for each in played:
            assert len(each.s_x) == len(each.s_y) == len(each.frames) == len(each.actions) + 1
            moved = (each.frames[1:].float() - each.frames[:-1].float()).abs().sum(dim=(1, 2, 3))
            assert moved.max() < 20 * 255  # one step moves cart and pole a little; a new episode puts the pole upright


def test_a_decoder_learns_to_draw_what_an_embedding_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A square whose place is the embedding; a dimension that hardly varies does not spoil it."""
    monkeypatch.setattr(decoder, "UPDATES", 300)
    torch.manual_seed(0)
    at = torch.randint(0, 12, (200,))
    frames = torch.zeros(200, 1, 16, 16, dtype=torch.uint8)
    for i, place in enumerate(at.tolist()):
        frames[i, :, 4:8, place : place + 4] = 255
    s_y = torch.stack((at / 6 - 1, (at / 3).sin(), 1e-6 * torch.randn(200)), dim=1)
    episode = Played(s_y, s_y, frames, at[:-1])

    drawing = decoder.Decoder([episode], "cpu")

    assert decoder.unexplained(drawing, [episode]) < 0.2


def test_a_run_without_a_look_ahead_is_refused(tmp_path: Path) -> None:
    for changes, wrong in (({"jepa": None}, "`jepa: null`"), ({"jepa.y": "same", "jepa.horizon": 1}, "`jepa.y: same`")):
        run = jepakit.run("cartpole_pixels", overrides=ON | changes, out=tmp_path / str(len(wrong)), quiet=True).path
        with pytest.raises(UserError, match=wrong):
            imagine(run, tmp_path / "out")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("worst", "scale"), [(3.0, "linear"), (60_000.0, "log")])
def test_errors_that_explode_do_not_hide_the_other_lines(worst: float, scale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure.axes[0].get_yscale()))
    pictures.curves(Path("error.png"), {"k": [1, 2], "predicted": [1.0, worst], "copied": [0.1, 1.0], "mean": [1.0, 1.0], "horizon": 1}, "")
    assert drawn == [scale]

"""Videos show the episodes of an evaluation, and change none of its numbers."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensordict import TensorDict

import jepakit
from jepakit.agent import movie, video
from jepakit.agent.drawing import Canvas, Moment
from jepakit.agent.evaluate import evaluate
from jepakit.agent.intent import Bar, Intent
from jepakit.agent.movie import Movie
from jepakit.agent.trained import opened
from jepakit.agent.video import film, film_both
from jepakit.cli.eval import command
from jepakit.components.algorithms.sac import SAC
from jepakit.errors import UserError
from jepakit.machine.hardware import resolve_hardware
from jepakit.recipe import load_recipe
from jepakit.training.build import build_env, build_learner

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")

SMALL = {"total_steps": 100, "env.num_envs": 2, "threads": 1}
ON = SMALL | {"algorithm.rollout_steps": 25, "algorithm.minibatch_size": 25}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jepakit.run("cartpole_pixels", overrides=ON, out=tmp_path_factory.mktemp("run") / "mine", quiet=True).path


def frames_of(path: Path) -> list[Any]:
    if path.suffix == ".gif":
        with Image.open(path) as gif:
            return [np.asarray(frame.convert("RGB")) for frame in _each(gif)]
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]


def _each(gif: Image.Image) -> Any:
    for i in range(gif.n_frames):  # type: ignore[attr-defined]
        gif.seek(i)
        yield gif


def test_eval_films_its_first_episode_and_keeps_its_numbers(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(trained, episodes=4, seed=9)
    plain = json.loads((trained / "eval.json").read_text())
    command(trained, episodes=4, seed=9, video=tmp_path / "videos", videos=2)
    assert json.loads((trained / "eval.json").read_text()) == plain
    made = sorted(path.name for path in (tmp_path / "videos").iterdir())
    told = capsys.readouterr().out
    assert len(made) == 4
    assert all(name in told for name in made)
    first = plain["greedy"]["returns"][0]
    assert f"greedy-1-return_{first:.4g}.mp4" in made
    frames = frames_of(tmp_path / "videos" / f"greedy-1-return_{first:.4g}.mp4")
    assert len(frames) == plain["greedy"]["lengths"][0] + 1  # each state, and the end


def test_a_frame_shows_the_env_and_what_the_agent_sees(trained: Path) -> None:
    dark = {"distractions": [{"kind": "noise"}]}
    with opened(trained, best=False, trust=False, warn=print, alone=True, overrides=dark) as parts:
        moments = list(video._episode(parts, "greedy", 3, "heading"))
        parts.env.set_seed(3)
        seen = parts.env.reset()["pixels"][0, -1, 0].numpy()
        clean = parts.env.render()[0]
    assert np.array_equal(moments[0].seen, seen)
    assert np.array_equal(moments[0].drawn, clean)
    picture = Canvas(moments[0]).draw(moments[0])
    height, width = clean.shape[:2]
    assert any(np.array_equal(picture[y : y + height, 14 : 14 + width], clean) for y in range(60)), "the env's own pixels"
    enlarged = np.repeat(np.repeat(seen, 5, axis=0), 5, axis=1)
    found = np.lib.stride_tricks.sliding_window_view(picture[:100, 14 + width :, 0], enlarged.shape[1], axis=1)
    assert (found == enlarged[0]).all(axis=-1).any(), "the agent's pixels, each 5x5"
    assert moments[-1].intent is None
    assert [moment.length for moment in moments] == list(range(len(moments)))
    assert sum(bar.fill for bar in moments[0].intent.bars) == pytest.approx(1)  # type: ignore[union-attr]


def test_filming_leaves_the_global_generators_alone(trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = film(trained, tmp_path / "a.mp4", seed=4, mode="sampled")
    assert torch.equal(torch.rand(3), expected)
    assert film(trained, tmp_path / "b.mp4", seed=4, mode="sampled") == first
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert first in evaluate(trained, 1, seed=4, overrides=["env.num_envs=1"])["sampled"]["returns"]


def test_without_ffmpeg_videos_are_gifs_of_the_same_length(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    command(trained, episodes=1, seed=9, video=tmp_path)
    assert "jepakit[video]" in capsys.readouterr().err
    (greedy,) = tmp_path.glob("greedy-1-*.gif")
    played = json.loads((trained / "eval.json").read_text())["greedy"]
    frames = frames_of(greedy)
    assert len(frames) == played["lengths"][0] + 1
    assert not np.array_equal(frames[0], frames[-1])
    with pytest.raises(UserError, match=r"jepakit\[video\]"):
        film(trained, tmp_path / "a.mp4")


def test_a_folder_that_cannot_be_one_is_noticed_before_the_evaluation(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't write to"):
        command(trained, episodes=10**9, video=tmp_path / "file")
    with pytest.raises(UserError, match="add --video DIR"):
        command(trained, episodes=10**9, videos=3)


def test_a_failed_film_leaves_no_file(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Canvas, "draw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        film_both(trained, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_video_that_ffmpeg_could_not_finish_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "full.mp4").symlink_to("/dev/full")
    with pytest.raises(UserError, match="could not finish"), Movie(tmp_path / "full.mp4", 30) as film:
        film.add(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("kind", [".gif", ".mp4"])
def test_a_long_video_needs_the_memory_of_a_short_one(tmp_path: Path, kind: str) -> None:
    picture = np.kron(np.arange(48).reshape(6, 8), np.full((16, 16), 5)).astype(np.uint8)[..., None].repeat(3, axis=2)
    with Movie(tmp_path / f"long{kind}", 30) as long:
        long.add(picture)
        tracemalloc.start()
        for _ in range(300):
            long.add(picture)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 20 * picture.nbytes  # 300 pictures are 300 times that
    frames = frames_of(tmp_path / f"long{kind}")
    assert len(frames) == 301
    assert np.abs(frames[300].astype(int) - picture).mean() < 4


@pytest.mark.parametrize(
    ("drawn", "seen", "bars"),
    [
        ((400, 600, 3), (40, 60), 2),
        ((210, 160, 3), (84, 84), 18),
        ((84, 84, 3), (84, 84, 3), 21),
        ((1000, 1400, 3), (500, 500), 0),
        ((1, 4), (1, 4), 1),
    ],
)
def test_everything_fits_on_the_canvas(drawn: tuple[int, ...], seen: tuple[int, ...], bars: int) -> None:
    intent = Intent("V(s)", 1.0, "π(a | s)", [Bar(str(i), "0.10", 0.1, i == 0) for i in range(bars)])
    moment = Moment(np.zeros(drawn, np.uint8), np.zeros(seen, np.uint8), "heading", -1234.5, 27_000, intent)
    picture = Canvas(moment).draw(moment)
    height, width = picture.shape[:2]
    assert height % 2 == width % 2 == 0
    assert max(height, width) <= 1100
    assert (picture[-4:] == 255).all()
    assert (picture[:, -4:] == 255).all()


def test_sacs_value_of_an_action_is_the_lower_of_its_two_critics() -> None:
    recipe = load_recipe("pendulum_pixels", {"algorithm": {"kind": "sac"}, **SMALL})
    env = build_env(recipe)
    algorithm = build_learner(recipe, env, resolve_hardware("cpu", "fp32", 1)).algorithm
    env.close()
    assert isinstance(algorithm, SAC)
    s_x, action = torch.randn(5, 64), torch.rand(5, 1) * 4 - 2
    judged = []
    for i in range(2):
        with algorithm.loss.qvalue_network_params[i].to_module(algorithm.loss.qvalue_network):
            inputs = TensorDict({"s_x": s_x, "action": action / 2}, batch_size=[5])
            judged.append(algorithm.loss.qvalue_network(inputs)["state_action_value"].squeeze(-1))
    assert torch.allclose(algorithm.action_value(s_x, action), torch.minimum(*judged), atol=1e-6)


def test_an_unknown_mode_or_kind_of_file_is_an_error(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="greedy, sampled"):
        film(trained, tmp_path / "a.mp4", mode="random")
    with pytest.raises(UserError, match=r"\.mp4 or \.gif"):
        film(trained, tmp_path / "a.avi")
    assert movie.suffix() == ".mp4"

"""Videos become episodes without actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchrl.data import Bounded, Categorical

from jepakit.components.sources.videos import Videos
from jepakit.errors import UserError
from jepakit.protocols import FrameShape
from jepakit.testing import check_component
from jepakit.training.run import run
from tests.small import small_pretraining

ffmpeg = pytest.importorskip("imageio_ffmpeg")
SHAPE = FrameShape(2, 1, 8, 16)


def write(path: Path, levels: list[int]) -> None:
    """A video of plain grey frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = ffmpeg.write_frames(str(path), (64, 32), fps=10, quality=9)
    writer.send(None)
    for level in levels:
        writer.send(np.full((32, 64, 3), level, np.uint8).tobytes())
    writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "videos" / "b.mp4", [200, 150, 100, 50])
    write(tmp_path / "videos" / "a" / "first.mp4", [30, 60, 90])
    (tmp_path / "videos" / "notes.txt").write_text("no video")
    return tmp_path / "videos"


def test_each_video_is_an_episode_of_resized_frames(folder: Path) -> None:
    recording = Videos(SHAPE, Categorical(3), folder=str(folder)).load()
    assert recording.frames.shape == (7, 1, 8, 16)
    assert recording.frames.float().mean(dim=(1, 2, 3)).sub(torch.tensor([30, 60, 90, 200, 150, 100, 50])).abs().max() < 4
    assert recording.position.tolist() == [0, 1, 3, 4, 5]
    assert recording.age.tolist() == [0, 1, 0, 1, 2]
    assert recording.done.tolist() == [False, True, False, False, True]
    assert not recording.terminated.any()
    assert not recording.action.any()
    every_second = Videos(SHAPE, Categorical(3), folder=str(folder), every=2).load()
    assert len(every_second.frames) == 4


def test_a_frame_counts_once_however_long_it_is_shown(tmp_path: Path) -> None:
    images = pytest.importorskip("PIL.Image")
    first, *others = [images.fromarray(np.full((32, 64, 3), level, np.uint8)) for level in (10, 60, 110, 160)]
    first.save(tmp_path / "slow.gif", save_all=True, append_images=others, duration=[100, 500, 20, 1000])
    recording = Videos(SHAPE, Categorical(3), folder=str(tmp_path)).load()
    assert recording.frames[:, 0, 0, 0].tolist() == pytest.approx([10, 60, 110, 160], abs=4)


def test_continuous_actions_are_zero_too(folder: Path) -> None:
    spec = Bounded(-torch.ones(2), torch.ones(2), dtype=torch.float32)
    assert Videos(SHAPE, spec, folder=str(folder)).load().action.shape == (5, 2)


def test_it_keeps_the_rules_of_its_slot(folder: Path) -> None:
    check_component("source", "videos", folder=str(folder))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no videos"):
        Videos(SHAPE, Categorical(1), folder=str(tmp_path))
    (tmp_path / "broken.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"broken\.mp4 cannot be read as a video \([^\n]{5,80}\): remove it"):
        Videos(SHAPE, Categorical(1), folder=str(tmp_path)).load()
    (tmp_path / "broken.mp4").unlink()
    write(tmp_path / "short.mp4", [9])
    with pytest.raises(ValueError, match=r"short\.mp4 has 1 frames; two are needed"):
        Videos(SHAPE, Categorical(1), folder=str(tmp_path)).load()


def test_a_run_pretrains_on_videos_and_refuses_terms_that_need_actions(folder: Path, tmp_path: Path) -> None:
    recipe = small_pretraining({"kind": "videos", "folder": str(folder)}, size=[8, 16])
    result = run(recipe, out=tmp_path / "run", quiet=True)
    assert result.summary["updates"] == 4
    for kind, lacking in (("inverse_dynamics", "action"), ("reward_model", "action, reward"), ("termination_model", "action, terminated")):
        with pytest.raises(UserError, match=f"kind `{kind}` learns from {lacking}, which the source `videos` does not have"):
            run(recipe, overrides={"auxiliary": [{"kind": kind}]}, out=tmp_path / "other", quiet=True)
    (folder / "c.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"c\.mp4 cannot be read as a video"):
        run(recipe, out=tmp_path / "broken", quiet=True)
    assert not (tmp_path / "broken").exists()

"""Minari's datasets of images become recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from torchrl.data import Categorical, TensorSpec

from jepakit.components.sources.minari import Minari
from jepakit.protocols import FrameShape
from jepakit.recipe import load_recipe, recipe_id
from jepakit.training.run import run
from tests.small import small_pretraining

minari = pytest.importorskip("minari")
buffers = pytest.importorskip("minari.data_collector.episode_buffer")
h5py = pytest.importorskip("h5py")
SHAPE = FrameShape(2, 1, 8, 12)


def make(folder: Path, name: str, observation: spaces.Space[Any], of: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of two episodes, of 3 and 2 steps: the first terminates, the second is truncated."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    episodes = []
    for number, length in enumerate((3, 2)):
        images = np.stack([np.full((16, 24, 3), 100 * number + 20 * step, np.uint8) for step in range(length + 1)])
        last = np.arange(length) == length - 1
        actions, rewards = np.arange(length) % 2, np.arange(length, dtype=np.float32)
        ends = {"terminations": last & (number == 0), "truncations": last & (number == 1)}
        episodes.append(buffers.EpisodeBuffer(observations=of(images), actions=actions, rewards=rewards.tolist(), **ends))
    spec: Any = {"observation_space": observation, "action_space": spaces.Discrete(2)}
    minari.create_dataset_from_buffers(dataset_id=f"{name}/random-v0", buffer=episodes, jpeg_encoding=False, **spec)
    return folder / name / "random-v0"


IMAGE = spaces.Box(0, 255, (16, 24, 3), np.uint8)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make(tmp_path, "images", IMAGE, lambda images: images, monkeypatch)


def test_each_episode_keeps_its_last_frame(images: Path) -> None:
    recording = Minari(SHAPE, Categorical(2), folder=str(images)).load()
    assert recording.frames.shape == (7, 1, 8, 12)
    assert recording.frames[:, 0, 0, 0].tolist() == [0, 20, 40, 60, 100, 120, 140]
    assert recording.position.tolist() == [0, 1, 2, 4, 5]
    assert recording.age.tolist() == [0, 1, 2, 0, 1]
    assert recording.action.tolist() == [0, 1, 0, 0, 1]
    assert recording.reward.tolist() == [0, 1, 2, 0, 1]
    assert recording.terminated.tolist() == [False, False, True, False, False]
    assert recording.done.tolist() == [False, False, True, False, True]


def test_images_within_a_mapping_are_named_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = spaces.Dict({"rgb": IMAGE})
    folder = make(tmp_path, "mapping", space, lambda images: {"rgb": images}, monkeypatch)
    assert len(Minari(SHAPE, Categorical(2), folder=str(folder), key="rgb").load().frames) == 7
    with pytest.raises(ValueError, match=r"which are no images .*name one of rgb as `key`"):
        Minari(SHAPE, Categorical(2), folder=str(folder))
    with pytest.raises(ValueError, match="key depth is no entry of the observations"):
        Minari(SHAPE, Categorical(2), folder=str(folder), key="depth")


@pytest.mark.parametrize(
    ("spec", "told"),
    [(Categorical(3), r"holds actions \{'discrete': 2\}; the env's are \{'discrete': 3\}"), (None, "holds no Minari dataset")],
)
def test_what_does_not_fit_is_refused(spec: TensorSpec | None, told: str, images: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        Minari(SHAPE, spec or Categorical(2), folder=str(images if spec else tmp_path))


def test_a_broken_episode_is_named(images: Path) -> None:
    source = Minari(SHAPE, Categorical(2), folder=str(images))
    with h5py.File(images / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_1/actions"]
    with pytest.raises(ValueError, match=r"random-v0: episode 1 cannot be read: "):
        source.load()


def test_an_episode_without_its_last_observation_is_refused(images: Path) -> None:
    source = Minari(SHAPE, Categorical(2), folder=str(images))
    with h5py.File(images / "data" / "main_data.hdf5", "r+") as file:
        shown = file["episode_0/observations"][:-1]
        del file["episode_0/observations"]
        file["episode_0/observations"] = shown
    with pytest.raises(ValueError, match="episode 0 has 3 steps and 3 observations; each step's and the one that follows the last"):
        source.load()


def test_a_run_pretrains_on_a_dataset(images: Path, tmp_path: Path) -> None:
    recipe = small_pretraining({"kind": "minari", "folder": str(images)}, size=[8, 12], actions=2)
    result = run(recipe, out=tmp_path / "run", quiet=True)
    assert result.summary["updates"] == 4
    assert recipe_id(load_recipe(result.path / "recipe.yaml")) == result.summary["id"]

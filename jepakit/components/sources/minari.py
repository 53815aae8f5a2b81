"""Datasets of Minari whose observations are images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from jepakit.components.shared.frames import to_frame
from jepakit.components.shared.recordings import actions_of
from jepakit.errors import told
from jepakit.protocols import Recording
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec

    from jepakit.protocols import FrameShape


@register("source", "minari")
class Minari:
    """A Minari dataset whose observations are images. They are resized to the env's frames, and kept in memory. Nothing is downloaded.

    `minari download ID` puts a dataset into ``~/.minari/datasets/ID``.

    Source: the Farama Foundation's Minari, a standard for offline RL datasets.

    Args:
        folder: The dataset's folder, such as ``~/.minari/datasets/ID``, relative to the recipe that names it.
        key: The entry with the images, of observations that are a mapping; null: the observation itself.

    Raises:
        ValueError: The folder holds no Minari dataset, or one whose observations are no images or whose actions are not the env's.
    """

    requires: ClassVar[dict[str, str]] = {"minari": "pip install 'jepakit[minari]'"}
    data: ClassVar[tuple[str, ...]] = ("folder",)
    lacks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, frames: FrameShape, action_spec: TensorSpec, *, folder: str, key: str | None = None) -> None:
        from minari import MinariDataset

        self.frames, self.key, self.folder = frames, key, folder
        path = Path(folder)
        try:
            self.dataset: Any = MinariDataset(path / "data" if (path / "data").is_dir() else path)
        except Exception as error:  # a dataset may come from anybody
            raise ValueError(f"folder {folder} holds no Minari dataset: {told(error).splitlines()[0]}") from error
        space = self.dataset.observation_space
        if key is not None:
            if not isinstance(space, spaces.Dict) or key not in space.spaces:
                raise ValueError(f"key {key} is no entry of the observations, {space}")
            space = space[key]
        if not (
            isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3) and space.shape[2:] in ((), (1,), (3,))
        ):
            more = f"; name one of {', '.join(space.spaces)} as `key`" if isinstance(space, spaces.Dict) else ""
            raise ValueError(f"folder {folder} holds observations {space}, which are no images (uint8 [H, W] or [H, W, 3]){more}")
        if space.shape[2:] != (3,) and frames.channels == 3:
            raise ValueError(f"folder {folder} holds grey images; the env's frames have three channels")
        self.actions = self.dataset.action_space
        theirs = _described(self.actions)
        if theirs != (ours := actions_of(action_spec)):
            raise ValueError(f"folder {folder} holds actions {theirs or self.actions}; the env's are {ours}")

    def load(self) -> Recording:
        """Read all episodes.

        Raises:
            ValueError: One cannot be read, or there is none.
        """
        columns: dict[str, list[Any]] = {name: [] for name in Recording._fields}
        begin = 0
        for number, episode in enumerate(self._episodes()):
            images = episode.observations if self.key is None else episode.observations[self.key]
            steps = len(episode.rewards)
            if len(images) <= steps or not steps:
                needed = "each step's and the one that follows the last are needed"
                raise ValueError(f"folder {self.folder}: episode {number} has {steps} steps and {len(images)} observations; {needed}")
            age = torch.arange(steps)
            columns["frames"] += [self._frame(image) for image in images[: steps + 1]]
            columns["age"].append(age)
            columns["position"].append(begin + age)
            columns["action"].append(self._action(episode.actions[:steps]))
            columns["reward"].append(torch.as_tensor(np.asarray(episode.rewards, np.float32)))
            columns["done"].append(age == steps - 1)
            columns["terminated"].append((age == steps - 1) & bool(episode.terminations[-1]))
            begin += steps + 1
        if not columns["age"]:
            raise ValueError(f"folder {self.folder} holds no episodes")
        return Recording(torch.stack(columns.pop("frames")), **{name: torch.cat(parts) for name, parts in columns.items()})

    def _episodes(self) -> Iterator[Any]:
        episodes = iter(self.dataset.iterate_episodes())
        for number in count():
            try:
                episode = next(episodes, None)
            except Exception as error:  # whatever the library that reads the file raises
                raise ValueError(f"folder {self.folder}: episode {number} cannot be read: {told(error).splitlines()[0]}") from error
            if episode is None:
                return
            yield episode

    def _frame(self, image: Any) -> Tensor:
        _, channels, height, width = self.frames
        return to_frame(np.ascontiguousarray(image), (height, width), channels == 1).clone()

    def _action(self, actions: Any) -> Tensor:
        if isinstance(self.actions, spaces.Discrete):
            return torch.as_tensor(np.asarray(actions, np.int64).reshape(-1) - int(self.actions.start))
        return torch.as_tensor(np.asarray(actions, np.float32).reshape(len(actions), -1))


def _described(space: spaces.Space[Any]) -> dict[str, Any]:
    if isinstance(space, spaces.Discrete):
        return {"discrete": int(space.n)}
    if isinstance(space, spaces.Box):
        return {"low": space.low.astype(np.float32).flatten().tolist(), "high": space.high.astype(np.float32).flatten().tolist()}
    return {}

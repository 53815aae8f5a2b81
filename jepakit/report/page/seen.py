"""What trained agents showed when they played: the part of a report that needs checkpoints."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]

INK = (213, 94, 0)  #: Okabe and Ito's vermilion
FULL = 3  #: times the even share of attention
DENSEST = 0.75  #: share of the ink there


class Observed(NamedTuple):
    """M observations of one run's episodes; of a few of them the frames and where the encoder looks."""

    embeddings: Array  #: [M, D]
    values: Mapping[str, Array]  #: [M] by name; the first is shown first
    frames: NDArray[np.uint8]  #: [F, K, C, H, W]
    attention: Array | None  #: [F, K or fewer, rows, columns]


class Film(NamedTuple):
    """A video of one episode."""

    content: bytes
    suffix: str  #: ``.mp4`` or ``.gif``
    episode_return: float


@dataclass(frozen=True)
class Seen:
    """What the agents of some configurations showed, each by the index of its configuration."""

    observed: Mapping[int, Observed] = field(default_factory=dict)
    films: Mapping[int, list[Film]] = field(default_factory=dict)
    runs: Mapping[int, str] = field(default_factory=dict)  #: the runs that played
    failed: Mapping[int, str] = field(default_factory=dict)  #: why a configuration is missing


def principal(embeddings: Array) -> tuple[Array, Array]:
    """The first two principal components [M, 2], in units of the root mean square of s_x times √D, and their shares of the variance [2]."""
    centred = embeddings - embeddings.mean(axis=0)
    _, scales, axes = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(embeddings), 2))
    found = min(2, len(axes))
    points[:, :found] = centred @ axes[:found].T
    size = np.sqrt((embeddings**2).sum(axis=1).mean())
    total = (scales**2).sum()
    shares = np.zeros(2)
    shares[:found] = scales[:found] ** 2 / total if total else 0.0
    return points / size if size else points, shares


def overlaid(frame: NDArray[np.uint8], weights: Array, even: float, side: int = 180) -> str:
    """A frame [C, H, W] as the address of a PNG, with weights [rows, columns] laid over it: the more, the denser.

    Args:
        frame: The frame.
        weights: Of its patches.
        even: The weight of a patch if all had the same; `FULL` times that has the full colour.
        side: Pixels of the picture's longer side, roughly.
    """
    picture = np.moveaxis(frame, 0, -1)
    picture = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture[..., -3:]
    scale = max(1, round(side / max(picture.shape[:2])))
    drawn = np.kron(picture, np.ones((scale, scale, 1), dtype=np.uint8)).astype(float)
    height, width = drawn.shape[:2]
    rows = np.arange(height) * weights.shape[0] // height
    columns = np.arange(width) * weights.shape[1] // width
    heat = np.clip(weights / (FULL * even), 0, 1)[rows][:, columns, None] * DENSEST
    drawn = drawn * (1 - heat) + np.array(INK) * heat
    file = BytesIO()
    Image.fromarray(drawn.round().astype(np.uint8)).quantize(128).save(file, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

"""Memory that a worker shares with its parent, so that an image is written once and needs no pipe.

It is a file without a name, which vanishes with the last process that has it open. Each simulator has a place in it, as large as one image.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Place(NamedTuple):
    """Where an array lies in the file, and what it is."""

    offset: int
    shape: tuple[int, ...]
    dtype: str


def new_file() -> int:
    """The descriptor of an empty file, in memory where the system offers that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("jepakit")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def new_place(file: int, image: NDArray[Any]) -> Place:
    """Make ``file`` larger by a place for images like ``image``."""
    page = mmap.ALLOCATIONGRANULARITY
    offset = math.ceil(os.fstat(file).st_size / page) * page
    os.ftruncate(file, offset + image.nbytes)
    return Place(offset, image.shape, image.dtype.str)


def mapped(file: int, place: Place) -> NDArray[Any]:
    """The array at ``place``, which all processes that map it see."""
    size = math.prod(place.shape) * np.dtype(place.dtype).itemsize
    return np.ndarray(place.shape, place.dtype, buffer=mmap.mmap(file, size, offset=place.offset))

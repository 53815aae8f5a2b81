"""A replay's frames on disk: each is written once, when a checkpoint is made, into files that several checkpoints share."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from jepakit.files.writing import digest, needing, to_disk
from jepakit.training.experience.replay import Replay

PATTERN = "frames-*.safetensors"


@dataclass(frozen=True)
class Segment:
    """One file: the frames that were new at a checkpoint."""

    name: str
    bytes: int
    sha256: str
    end: tuple[int, ...]  #: of each env, the position behind its last frame


class FrameLog:
    """Keeps the frames that the newest checkpoints need, as segments; a checkpoint holds their names alone.

    Args:
        folder: Where they lie.
        replay: Whose frames.
    """

    def __init__(self, folder: Path, replay: Replay) -> None:
        self.folder = folder
        self.replay = replay
        self.segments: list[Segment] = []

    def save(self) -> list[dict[str, Any]]:
        """Write what is new; the segments that hold all frames of the ring, oldest first, as JSON has them."""
        replay = self.replay
        oldest = (replay.end - replay.slots).clamp(min=0)  # what lies before was written over
        saved = torch.tensor(self.segments[-1].end) if self.segments else torch.zeros_like(replay.end)
        begin = saved.maximum(oldest)
        if (begin < replay.end).any():
            self.segments.append(self._write(begin))
        self.segments = [segment for segment in self.segments if (torch.tensor(segment.end) > oldest).any()]
        return [asdict(segment) for segment in self.segments]

    def load(self, segments: Sequence[dict[str, Any]]) -> None:
        """Bring the ring back to where it was when `save` returned ``segments``; the replay's own state is there already."""
        replay = self.replay
        self.segments = [Segment(**segment | {"end": tuple(segment["end"])}) for segment in segments]
        for segment in self.segments:
            held = load_file(self.folder / segment.name)
            for env, begin in enumerate(held["begin"].tolist()):
                frames = held[str(env)]
                replay.write_frames(torch.full((len(frames),), env), begin + torch.arange(len(frames)), frames)
        for path in self.folder.glob(f".{PATTERN}.partial"):
            path.unlink()

    def prune(self, needed: Set[str]) -> None:
        """Remove all files of frames but those of these names."""
        for path in self.folder.glob(PATTERN):
            if path.name not in needed:
                path.unlink()

    def _write(self, begin: torch.Tensor) -> Segment:
        replay = self.replay
        held = {"begin": begin}
        for env, (first, end) in enumerate(zip(begin.tolist(), replay.end.tolist(), strict=True)):
            held[str(env)] = replay.read_frames(torch.full((end - first,), env), torch.arange(first, end))
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self.folder / f"frames-{replay.steps * replay.num_envs:012d}.safetensors"
        partial = final.with_name(f".{final.name}.partial")
        with needing(sum(tensor.nbytes for tensor in held.values()), "a file of replay's new frames", self.folder, partial):
            save_file(held, partial)
            to_disk(partial)
            partial.rename(final)
        to_disk(self.folder)
        return Segment(final.name, final.stat().st_size, digest(final), tuple(replay.end.tolist()))

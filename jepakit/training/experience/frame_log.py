"""A replay's frames on disk. Each checkpoint writes only the new frames, to files that later checkpoints share."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from jepakit.files.tensors import save_tensors
from jepakit.files.writing import digest, needing, to_disk
from jepakit.storage.checkpoint import load_tensors
from jepakit.storage.manifest import Corrupt
from jepakit.training.experience.replay import Replay

PATTERN = "frames-*.safetensors"


@dataclass(frozen=True)
class Segment:
    """One file of frames: those that were new at a checkpoint."""

    name: str
    bytes: int
    sha256: str
    end: tuple[int, ...]  #: for each env, the position after its last frame


class FrameLog:
    """Stores as segments the frames that the newest checkpoints need; a checkpoint holds only the segments' names.

    Args:
        folder: Folder of the segments.
        replay: The replay whose frames they hold.
    """

    def __init__(self, folder: Path, replay: Replay) -> None:
        self.folder = folder
        self.replay = replay
        self.segments: list[Segment] = []

    def save(self) -> list[dict[str, Any]]:
        """Write the new frames; return, oldest first and ready for JSON, the segments that hold all frames of the ring."""
        replay = self.replay
        oldest = (replay.end - replay.slots).clamp(min=0)  # older frames are overwritten
        saved = torch.tensor(self.segments[-1].end) if self.segments else torch.zeros_like(replay.end)
        begin = saved.maximum(oldest)
        if (begin < replay.end).any():
            self.segments.append(self._write(begin))
        self.segments = [segment for segment in self.segments if (torch.tensor(segment.end) > oldest).any()]
        return [asdict(segment) for segment in self.segments]

    def load(self, segments: Sequence[dict[str, Any]]) -> None:
        """Restore the ring to its content when `save` returned ``segments``; the replay's own state must be loaded already.

        Raises:
            Corrupt: The segments do not hold all frames of the ring.
        """
        replay = self.replay
        reached = (replay.end - replay.slots).clamp(min=0)
        self.segments = [Segment(**segment | {"end": tuple(map(int, segment["end"]))}) for segment in segments]
        for segment in self.segments:
            held = load_tensors(self.folder, segment.name.removesuffix(".safetensors"))
            for env, begin in enumerate(held["begin"].tolist()):
                frames = held[str(env)]
                if begin > reached[env]:
                    raise Corrupt(f"{segment.name}: frames of env {env} before its {begin:,}th are missing")
                reached[env] = max(int(reached[env]), begin + len(frames))  # an older segment is kept where another env needs it
                replay.write_frames(torch.full((len(frames),), env), begin + torch.arange(len(frames)), frames)
        if (reached != replay.end).any() or any(len(segment.end) != replay.num_envs for segment in self.segments):
            raise Corrupt("its frame files do not hold all frames of its replay")
        for path in self.folder.glob(f".{PATTERN}.partial"):
            path.unlink()

    def prune(self, needed: Set[str]) -> None:
        """Remove all files of frames except the ``needed`` ones."""
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
        with needing(sum(tensor.nbytes for tensor in held.values()), "a file of the replay's new frames", self.folder, partial):
            save_tensors(held, partial)
            to_disk(partial)
            partial.rename(final)
        to_disk(self.folder)
        return Segment(final.name, final.stat().st_size, digest(final), tuple(replay.end.tolist()))

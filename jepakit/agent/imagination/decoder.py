"""A decoder for people: embeddings to frames. It is trained beside a finished run, and nothing that acts ever sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from jepakit.agent.imagination.played import Played
from jepakit.components.auxiliaries.reconstruction import Reconstruction
from jepakit.protocols import FrameShape

UPDATES, ROWS, LR = 2_000, 128, 2e-3


class Decoder:
    """Draws the newest frame that an embedding s_y stands for: the mean frame, and what the embedding adds to it.

    Args:
        episodes: What it learns from: s_y and their frames. The embeddings are numbers by now: no gradient reaches the run.
        device: Where it learns.
        on_update: Called after each of `UPDATES` optimizer steps.
    """

    def __init__(self, episodes: Sequence[Played], device: str, on_update: Callable[[], object] = lambda: None) -> None:
        self.device = device
        s_y = torch.cat([played.s_y for played in episodes])
        frames = torch.cat([played.frames for played in episodes])
        self.middle = s_y.mean(dim=0)
        spread = s_y.std(dim=0)
        self.spread = spread.clamp(min=0.1 * spread.square().mean().sqrt().item() + 1e-12)  # noise of dead dimensions stays small
        pictures = as_numbers(frames)
        self.mean = pictures.mean(dim=0)
        self.contrast = (pictures - self.mean).square().mean().sqrt().clamp(min=1e-6)
        self.net = Reconstruction(FrameShape(1, *frames.shape[1:]), s_y.shape[-1], penalty=0.0).to(device)
        optimizer = torch.optim.Adam(self.net.parameters(), lr=LR)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
        with torch.enable_grad():
            for _ in range(UPDATES):
                rows = torch.randint(len(s_y), (min(ROWS, len(s_y)),))
                added = (as_numbers(frames[rows]) - self.mean) / self.contrast
                loss = self.net(self._scaled(s_y[rows]), added[:, None].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                on_update()

    @torch.no_grad()
    def __call__(self, s_y: Tensor) -> Tensor:
        """Frames [B, C, H, W] of ``s_y`` [B, P], roughly in [0, 1] where the env's are uint8; on the CPU."""
        return self.mean + self.contrast * self.net.decode(self._scaled(s_y))[:, 0].cpu()

    def _scaled(self, s_y: Tensor) -> Tensor:
        return ((s_y - self.middle) / self.spread).to(self.device)


def unexplained(decoder: Decoder, episodes: Sequence[Played]) -> float:
    """The share of the pixels' variance, over the frames of ``episodes``, that the decoder misses when it is given the true s_y."""
    frames = as_numbers(torch.cat([played.frames for played in episodes]))
    drawn = torch.cat([decoder(part) for part in torch.cat([played.s_y for played in episodes]).split(256)])
    return ((drawn - frames).square().sum() / (frames - frames.mean(dim=0)).square().sum().clamp(min=1e-12)).item()


def as_numbers(frames: Tensor) -> Tensor:
    """Frames as floats: uint8 ones in [0, 1], state vectors as they are."""
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames

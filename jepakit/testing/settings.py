"""Settings for the checks: frames, actions and widths, and random inputs of these shapes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, product

import torch
from torch import Tensor, nn
from torchrl.data import Bounded, Categorical, TensorSpec

from jepakit.protocols import FrameShape

FRAME_SHAPES = (FrameShape(3, 1, 40, 60), FrameShape(4, 1, 84, 84), FrameShape(2, 3, 60, 40))
WIDTHS = (64, 5, 16)


@dataclass(frozen=True, eq=False)
class Setting:
    """The env and the encoder that a component is built for."""

    frames: FrameShape
    action_spec: TensorSpec
    width: int  #: D

    @property
    def actions(self) -> str:
        """``discrete`` or ``continuous``."""
        return "discrete" if isinstance(self.action_spec, Categorical) else "continuous"

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of ``pixels``: float for state vectors (one row), else uint8."""
        return torch.float32 if self.frames.height == 1 else torch.uint8

    def pixels(self, *leading: int) -> Tensor:
        """Random pixels [*, K, C, H, W]."""
        pixels = torch.randint(0, 256, (*leading, *self.frames))
        return pixels.to(torch.uint8) if self.dtype == torch.uint8 else torch.randn(pixels.shape)

    def embeddings(self, *leading: int) -> Tensor:
        """Random embeddings [*, D]."""
        return torch.randn(*leading, self.width)

    def action(self, *leading: int) -> Tensor:
        """Random actions, int64 [*] or float [*, A]."""
        return self.action_spec.rand(torch.Size(leading))

    def encoder(self) -> nn.Module:
        """A small online encoder."""
        return StandIn(self.frames, self.width)

    def told(self, context: Collection[str]) -> str:
        """The part of the setting that ``context``, a slot's constructor arguments, covers, in words."""
        k, c, h, w = self.frames
        parts = {
            "frames": f"K {k}, C {c}, frames of {h}x{w}",
            "action_spec": f"{self.actions} actions",
            "embedding_width": f"D {self.width}",
        }
        return ", ".join(text for name, text in parts.items() if name in context)


class StandIn(nn.Module):
    """A small encoder with a parameter and two buffers."""

    seen: Tensor
    mean: Tensor

    def __init__(self, frames: FrameShape, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(torch.Size(frames).numel(), width)
        self.register_buffer("mean", torch.full((), 0.5))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, pixels: Tensor) -> Tensor:
        """[*, K, C, H, W] -> [*, D]."""
        return self.linear(pixels.flatten(-4).float() / 255 - self.mean)


def settings(frame_shapes: Sequence[FrameShape], both_actions: bool) -> Iterator[Setting]:
    """Every frame shape, each with one width; with both kinds of actions if ``both_actions``."""
    discrete, continuous = Categorical(3), Bounded(torch.tensor([-2.0, -1.0]), torch.tensor([2.0, 3.0]), shape=(2,))
    specs = (discrete, continuous) if both_actions else (discrete,)
    for (frames, width), spec in product(zip(frame_shapes, cycle(WIDTHS)), specs):
        yield Setting(FrameShape(*frames), spec, width)

"""What components are tried with: frames, actions and widths, and random inputs of these shapes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, product

import torch
from torch import Tensor, nn
from torchrl.data import Bounded, Categorical, TensorSpec

from jepakit.protocols import FrameShape

FRAME_SHAPES = (FrameShape(3, 1, 40, 60), FrameShape(4, 1, 84, 84), FrameShape(2, 3, 60, 40))
WIDTHS = (48, 5, 16)


@dataclass(frozen=True, eq=False)
class Setting:
    """One env and one encoder, as a component sees them."""

    frames: FrameShape
    action_spec: TensorSpec
    width: int  #: D

    @property
    def actions(self) -> str:
        """Which sort they are."""
        return "discrete" if isinstance(self.action_spec, Categorical) else "continuous"

    @property
    def dtype(self) -> torch.dtype:
        """Of ``pixels``: state vectors, which stand in one row, are floats."""
        return torch.float32 if self.frames.height == 1 else torch.uint8

    def pixels(self, *leading: int) -> Tensor:
        """[*, K, C, H, W]."""
        pixels = torch.randint(0, 256, (*leading, *self.frames))
        return pixels.to(torch.uint8) if self.dtype == torch.uint8 else torch.randn(pixels.shape)

    def embeddings(self, *leading: int) -> Tensor:
        """[*, D]."""
        return torch.randn(*leading, self.width)

    def action(self, *leading: int) -> Tensor:
        """int64 [*] or float [*, A]."""
        return self.action_spec.rand(torch.Size(leading))

    def encoder(self) -> nn.Module:
        """One to stand beside the component."""
        return StandIn(self.frames, self.width)

    def told(self, context: Collection[str]) -> str:
        """That part of it which a slot with this ``context`` has to do with."""
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
    """Every shape of frames with a width of its own, and every sort of actions with each where it matters."""
    discrete, continuous = Categorical(3), Bounded(torch.tensor([-2.0, -1.0]), torch.tensor([2.0, 3.0]), shape=(2,))
    specs = (discrete, continuous) if both_actions else (discrete,)
    for (frames, width), spec in product(zip(frame_shapes, cycle(WIDTHS)), specs):
        yield Setting(FrameShape(*frames), spec, width)

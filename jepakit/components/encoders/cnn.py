"""Plain convolutions of any size."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from jepakit.components.encoders.convolutions import flat_width
from jepakit.components.encoders.pixels import Scaling, as_images, pixel_scaling, with_leading
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

Layer = tuple[PositiveInt, PositiveInt, PositiveInt]


@register("encoder", "cnn")
class CNN(nn.Module):
    """Convolutions without padding, then linear layers, with a ReLU between each two; the K frames enter as channels.

    s_x is the last linear layer's output: it can take any place, as regularizers of its variance ask for. Initial weights are PyTorch's
    own.

    Source: LeCun et al. 1989, Backpropagation Applied to Handwritten Zip Code Recognition. All sizes are a choice.

    Args:
        layers: Channels, kernel and stride of each convolution; a stride as large as its kernel cuts the frame into patches.
        hidden: Widths of the linear layers before the last.
        dim: Width D of s_x.
        scaling: How uint8 pixels x become floats. ``unit``: x/255; ``inverted``: 1 - x/255, so that a white background is zero;
            ``centered``: x/255 - 0.5; ``normalized``: each pixel standardised by its mean and variance over all frames so far.
        motion: Gain of the frame differences that take the place of all frames but the newest (`Motion`); null: the frames themselves.

    Raises:
        ValueError: The frames are too small for the convolutions.
    """

    def __init__(
        self,
        frames: FrameShape,
        *,
        layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
        hidden: tuple[PositiveInt, ...] = (),
        dim: PositiveInt = 64,
        scaling: Scaling = "unit",
        motion: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        self.scale = pixel_scaling(frames, scaling, motion)
        channels = (frames.frames * frames.channels, *(layer[0] for layer in layers))
        self.convolutions = nn.Sequential(
            *(
                part
                for (before, after), (_, kernel, stride) in zip(pairwise(channels), layers, strict=True)
                for part in (nn.Conv2d(before, after, kernel, stride), nn.ReLU())
            )
        )
        widths = (flat_width(self.convolutions, frames), *hidden, dim)
        linear = [part for before, after in pairwise(widths) for part in (nn.Linear(before, after), nn.ReLU())]
        self.head = nn.Sequential(nn.Flatten(), *linear[:-1])

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D]."""
        return with_leading(self.head(self.convolutions(as_images(self.scale(pixels)))), pixels)

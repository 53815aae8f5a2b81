"""The paper's encoder: one vision transformer over the patches of all K frames, read at a class token or at the patches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from jepakit.components.encoders.pixels import Scaling, pixel_scaling, with_leading
from jepakit.components.encoders.transformer import Block
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


@register("encoder", "vit")
class ViT(nn.Module):
    """Vision transformer over all K frames at once; the last layer's class token, or its patch tokens, are s_x.

    Each frame is cut into ``patch`` x ``patch`` squares. The patches of all K frames enter one pre-norm transformer after a class token.
    Each patch has a position t + i + j (t is relative: 0 is the oldest frame); the class token's position is part of the token. The last
    block computes only the rows that are read, such as one query and one MLP row for the class token: the same numbers in less time.

    Source: Kenneweg et al., JEPA for RL, section 2 (Input and Encoder, Learning Objective); Dosovitskiy et al. 2021, An Image is Worth
    16x16 Words. The paper fixes K = 3, the class token and dim = 64, and names the patch tokens as the alternative; patch, depth, heads,
    mlp_ratio, scaling, init, final_norm and learned positions are choices.

    Args:
        dim: Width D of the tokens and so of s_x.
        depth: Number of transformer blocks.
        heads: Attention heads; must divide ``dim``.
        patch: Side of a square patch in pixels; must divide the frame's height and width. ``quarter``: a quarter of the height by a
            quarter of the width, so 4×4 patches at any frame size.
        tubelet: Frames that one patch spans (Arnab et al. 2021, ViViT); must divide K. 1 is the paper's. ``all``, that is K, makes
            motion a linear feature of one token, and leaves K times fewer tokens.
        positions: ``learned``; or ``sincos``, fixed sines and cosines of t, i and j, a third of the dimensions each (Vaswani et al. 2017,
            section 3.5; He et al. 2022, MAE, in two dimensions), which needs a ``dim`` of 6 or more.
        registers: Extra learned tokens that no readout reads (Darcet et al. 2024, Vision Transformers Need Registers; 4 in the paper).
        mlp_ratio: Hidden width of a block's MLP, as a multiple of ``dim``.
        scaling: How uint8 pixels x become floats. ``inverted``: 1 - x/255, so that a white background is zero; ``unit``: x/255;
            ``centered``: x/255 - 0.5; ``normalized``: each pixel standardised by its mean and variance over all frames so far. On a
            constant non-zero background the embedding can be collapsed from the start; ``normalized`` makes any constant background zero.
        motion: Gain of the frame differences that take the place of all frames but the newest (`Motion`); null: the frames themselves.
        init: Initial weights of the linear layers: ``uniform``, PyTorch's own ±1/√fan_in; ``trunc_normal``, the usual one of vision
            transformers, with standard deviation 0.02 and zero biases.
        readout: What s_x is made of: the ``class_token`` (D = ``dim``), all ``patches`` concatenated
            (D = ``dim`` · K / ``tubelet`` · rows · columns), or the patches' ``mean`` (D = ``dim``).
        final_norm: Whether the encoder ends in a LayerNorm. It fixes the scale of s_x, and so that of L_JEPA.

    Raises:
        ValueError: ``patch`` does not divide the frame, ``tubelet`` does not divide K, ``heads`` does not divide ``dim``, or ``dim`` is
            too small for ``sincos``.
    """

    def __init__(
        self,
        frames: FrameShape,
        *,
        dim: PositiveInt = 64,
        depth: PositiveInt = 2,
        heads: PositiveInt = 4,
        patch: PositiveInt | Literal["quarter"] = 20,
        tubelet: PositiveInt | Literal["all"] = 1,
        positions: Literal["learned", "sincos"] = "learned",
        registers: NonNegativeInt = 0,
        mlp_ratio: PositiveFloat = 4.0,
        scaling: Scaling = "inverted",
        motion: PositiveFloat | None = None,
        init: Literal["uniform", "trunc_normal"] = "uniform",
        readout: Literal["class_token", "patches", "mean"] = "class_token",
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        for side, pixels in (("height", frames.height), ("width", frames.width)):
            if patch == "quarter" and pixels % 4:
                raise ValueError(
                    f"patch quarter needs a frame whose height and width are multiples of 4, and its {side} is {pixels} pixels"
                )
            if patch != "quarter" and pixels % patch:
                raise ValueError(
                    f"patch {patch} does not divide the frame's {side} of {pixels} pixels; "
                    f"the nearest that divides {frames.height}x{frames.width} is {_nearest_patch(frames, patch)}"
                )
        tubelet = frames.frames if tubelet == "all" else tubelet
        if frames.frames % tubelet:
            raise ValueError(f"tubelet {tubelet} does not divide the {frames.frames} frames")
        if dim % heads:
            raise ValueError(f"heads {heads} does not divide dim {dim}")
        if positions == "sincos" and dim < 6:
            raise ValueError(f"dim {dim} is too small for sincos positions: a sine and a cosine each of t, i and j take 6")
        self.patch = (frames.height // 4, frames.width // 4) if patch == "quarter" else (patch, patch)  #: height, width
        self.tubelet = tubelet
        self.scale = pixel_scaling(frames, scaling, motion)
        self.readout = readout
        times, rows, columns = frames.frames // tubelet, frames.height // self.patch[0], frames.width // self.patch[1]
        self.embed = nn.Linear(tubelet * frames.channels * math.prod(self.patch), dim)
        self.class_token = _learned(dim)
        self.position_t = _position(positions, 0, (times, 1, 1, dim))
        self.position_i = _position(positions, 1, (1, rows, 1, dim))
        self.position_j = _position(positions, 2, (1, 1, columns, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, round(dim * mlp_ratio)) for _ in range(depth))
        self.norm = nn.LayerNorm(dim) if final_norm else nn.Identity()
        self.grid = (times, rows, columns)  #: of patches
        self.read = slice(0, 1) if readout == "class_token" else slice(1, 1 + times * rows * columns)
        if init == "trunc_normal":
            self.apply(_init_trunc_normal)
        self.registers = _learned(registers, dim) if registers else None  # drawn last, so that other initial weights stay the same

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D]."""
        tokens = self.tokens(pixels.reshape(-1, *pixels.shape[-4:]))
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        rows = self.norm(self.blocks[-1](tokens, queries=self.read))  # [B, 1 or K/tubelet·rows·columns, D]
        return with_leading(rows.mean(dim=1) if self.readout == "mean" else rows.flatten(1), pixels)

    def attention(self, pixels: Tensor) -> Tensor | None:
        """How much the class token attends to each patch in the last block, averaged over heads; None if it is not what is read.

        Args:
            pixels: uint8 [B, K, C, H, W].

        Returns:
            [B, K/tubelet, rows, columns]. The sum over patches is at most 1: the rest goes to the class token itself and to registers.
        """
        if self.readout != "class_token":
            return None
        tokens = self.tokens(pixels)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        last: Any = self.blocks[-1]
        weights = last.weights(tokens, self.read).mean(dim=1)[:, 0]  # [B, L]
        return weights[:, 1 : 1 + math.prod(self.grid)].unflatten(1, self.grid)

    def tokens(self, pixels: Tensor) -> Tensor:
        """uint8 [B, K, C, H, W] -> [B, L, D]: the class token, embedded patches with positions, and registers."""
        height, width = self.patch
        tubelets = self.scale(pixels).unflatten(1, (-1, self.tubelet)).flatten(2, 3)  # [B, K/tubelet, tubelet·C, H, W]
        patches = tubelets.unfold(-2, height, height).unfold(-2, width, width)  # [B, K/tubelet, tubelet·C, rows, columns, height, width]
        flat = patches.movedim(2, 4).flatten(4)  # [B, K/tubelet, rows, columns, tubelet·C·height·width]
        embedded = self.embed(flat) + (self.position_t + self.position_i + self.position_j)
        tokens = [self.class_token.expand(pixels.shape[0], 1, -1), embedded.flatten(1, 3)]
        if self.registers is not None:
            tokens.append(self.registers.expand(pixels.shape[0], -1, -1))
        return torch.cat(tokens, dim=1)


def _learned(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.zeros(shape), std=0.02))


def _position(kind: str, axis: int, shape: tuple[int, int, int, int]) -> nn.Parameter | nn.Buffer:
    """The part of the position that depends on t, i or j (``axis`` 0, 1 or 2), of ``shape`` (t, i, j, D)."""
    if kind == "learned":
        return _learned(*shape)
    size, dim = shape[axis], shape[-1]
    waves = dim // 6
    angles = torch.arange(size)[:, None] * 10_000.0 ** (-torch.arange(waves) / waves)
    # Each axis has its own dimensions: in shared ones, the sum could not tell row 1, column 2 from row 2, column 1.
    encoded = torch.zeros(size, dim)
    encoded[:, 2 * waves * axis : 2 * waves * (axis + 1)] = torch.cat((angles.sin(), angles.cos()), dim=1)
    return nn.Buffer(encoded.reshape(shape))


def _init_trunc_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _nearest_patch(frames: FrameShape, patch: int) -> int:
    common = [p for p in range(1, min(frames.height, frames.width) + 1) if frames.height % p == 0 and frames.width % p == 0]
    return min(common, key=lambda p: abs(p - patch))

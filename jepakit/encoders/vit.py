"""The paper's encoder: one vision transformer over the patches of all K frames, read out at a class token or at all patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

CLASS_TOKEN, PATCHES = slice(0, 1), slice(1, None)


@register("encoder", "vit")
class ViT(nn.Module):
    """Vision transformer over all K frames at once; the last layer's class token, or all its patch tokens, are s_x.

    Every frame is cut into ``patch`` x ``patch`` squares. All K frames' patches enter one pre-norm transformer, each with a learned
    position t + i + j (t relative: 0 is the oldest frame), behind a class token, whose own position is part of it. Where only the class
    token is read, the last block computes one query and one MLP row: the same numbers in less time.

    Source: Kenneweg et al., JEPA for RL, section 2 (Input and Encoder, Learning Objective); Dosovitskiy et al. 2021, An Image is Worth
    16x16 Words. The paper fixes K = 3, the class token and dim = 64, and names the patch tokens as the alternative; patch, depth, heads,
    mlp_ratio, scaling, init and final_norm are choices.

    Args:
        dim: Width D of the tokens and so of s_x.
        depth: Number of transformer blocks.
        heads: Attention heads; must divide ``dim``.
        patch: Side of a square patch in pixels; must divide the frame's height and width.
        tubelet: Frames that one patch spans (Arnab et al. 2021, ViViT); must divide K. 1 as in the paper; K makes motion a linear feature
            of one token, and K times fewer tokens.
        mlp_ratio: Hidden width of a block's MLP, as a multiple of ``dim``.
        scaling: How uint8 pixels x become floats. ``inverted``: 1 - x/255, so that a white background is zero; ``unit``: x/255;
            ``centered``: x/255 - 0.5. With a constant non-zero background the embedding can be dead from the start.
        init: Initial weights of the linear layers: ``uniform``, PyTorch's own ±1/√fan_in; ``trunc_normal``, the vision transformers'
            usual standard deviation of 0.02 with biases of zero.
        readout: What s_x is: the ``class_token`` (D = ``dim``), or all ``patches`` one after the other
            (D = ``dim`` · K / ``tubelet`` · rows · columns).
        final_norm: Whether a LayerNorm ends the encoder. It fixes the scale of s_x, and with it that of L_JEPA.

    Raises:
        ValueError: ``patch`` does not divide the frame, ``tubelet`` the number of frames, or ``heads`` ``dim``.
    """

    def __init__(
        self,
        frames: FrameShape,
        *,
        dim: PositiveInt = 64,
        depth: PositiveInt = 2,
        heads: PositiveInt = 4,
        patch: PositiveInt = 20,
        tubelet: PositiveInt = 1,
        mlp_ratio: PositiveFloat = 4.0,
        scaling: Literal["inverted", "unit", "centered"] = "inverted",
        init: Literal["uniform", "trunc_normal"] = "uniform",
        readout: Literal["class_token", "patches"] = "class_token",
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        for side, pixels in (("height", frames.height), ("width", frames.width)):
            if pixels % patch:
                raise ValueError(
                    f"patch {patch} does not divide the frame's {side} of {pixels} pixels; "
                    f"the nearest that divides {frames.height}x{frames.width} is {_nearest_patch(frames, patch)}"
                )
        if frames.frames % tubelet:
            raise ValueError(f"tubelet {tubelet} does not divide the {frames.frames} frames")
        if dim % heads:
            raise ValueError(f"heads {heads} does not divide dim {dim}")
        self.patch = patch
        self.tubelet = tubelet
        self.scaling = scaling
        rows, columns = frames.height // patch, frames.width // patch
        self.embed = nn.Linear(tubelet * frames.channels * patch * patch, dim)
        self.class_token = nn.Parameter(torch.zeros(dim))
        self.position_t = nn.Parameter(torch.zeros(frames.frames // tubelet, 1, 1, dim))
        self.position_i = nn.Parameter(torch.zeros(1, rows, 1, dim))
        self.position_j = nn.Parameter(torch.zeros(1, 1, columns, dim))
        for parameter in (self.class_token, self.position_t, self.position_i, self.position_j):
            nn.init.trunc_normal_(parameter, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, heads, round(dim * mlp_ratio)) for _ in range(depth))
        self.norm = nn.LayerNorm(dim) if final_norm else nn.Identity()
        self.read = CLASS_TOKEN if readout == "class_token" else PATCHES
        if init == "trunc_normal":
            self.apply(_init_trunc_normal)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D]."""
        leading = pixels.shape[:-4]
        tokens = self.tokens(pixels.reshape(-1, *pixels.shape[-4:]))
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        s_x = self.norm(self.blocks[-1](tokens, queries=self.read)).flatten(1)
        return s_x.reshape(*leading, s_x.shape[-1])

    def tokens(self, pixels: Tensor) -> Tensor:
        """Class token and embedded patches with their positions: uint8 [B, K, C, H, W] -> [B, 1 + K/tubelet·rows·columns, D]."""
        p = self.patch
        tubelets = pixels.unflatten(1, (-1, self.tubelet)).flatten(2, 3)  # [B, K/tubelet, tubelet·C, H, W]
        patches = tubelets.unfold(-2, p, p).unfold(-2, p, p)  # [B, K/tubelet, tubelet·C, rows, columns, p, p]
        patches = scale(patches.movedim(2, 4).flatten(4), self.scaling)  # [B, K/tubelet, rows, columns, tubelet·C·p·p]
        embedded = self.embed(patches) + (self.position_t + self.position_i + self.position_j)
        class_token = self.class_token.expand(len(pixels), 1, -1)
        return torch.cat((class_token, embedded.flatten(1, 3)), dim=1)


class Block(nn.Module):
    """A pre-norm transformer block that computes only the rows asked for."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor, queries: slice = slice(None)) -> Tensor:
        """[B, L, D] -> the rows ``queries`` of the block's output, [B, Q, D]."""
        normed = self.norm_attention(tokens)
        query = self.query(normed[:, queries])
        key, value = self.key_value(normed).chunk(2, dim=-1)
        attended = attention(*(x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value)))
        tokens = tokens[:, queries] + self.project(attended.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm_mlp(tokens))


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v over [B, heads, rows, d]."""
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value)
    # On a CPU the fused kernel's backward in bf16 is many times slower than these steps at some 70 tokens, and softmax is slower in bf16.
    weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return weights.float().softmax(dim=-1).to(value.dtype) @ value


def scale(pixels: Tensor, scaling: str) -> Tensor:
    """uint8 pixels -> floats; see ``ViT``'s ``scaling``."""
    unit = pixels.float().div_(255)  # in place from here: these are the largest tensors of a forward pass
    match scaling:
        case "inverted":
            return unit.neg_().add_(1)
        case "centered":
            return unit.sub_(0.5)
    return unit


def _init_trunc_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _nearest_patch(frames: FrameShape, patch: int) -> int:
    common = [p for p in range(1, min(frames.height, frames.width) + 1) if frames.height % p == 0 and frames.width % p == 0]
    return min(common, key=lambda p: abs(p - patch))

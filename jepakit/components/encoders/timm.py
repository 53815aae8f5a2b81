"""Any backbone of the timm library. timm is an optional extra, imported only when a backbone is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from safetensors import safe_open
from torch import Tensor, nn

from jepakit.components.encoders.pixels import Scaling, as_images, pixel_scaling, with_leading
from jepakit.errors import nearest
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


@register("encoder", "timm")
class TimmBackbone(nn.Module):
    """Any backbone of the timm library, by its timm name; the K frames enter as channels. Nothing is downloaded.

    s_x is the input of the backbone's classifier. Dropout and stochastic depth are switched off, because acting and learning must see the
    same function. Batch normalisation breaks that too: choose a backbone without it (``convnext_*``, ``vit_*``), or write ``frozen: true``,
    which fixes its statistics. timm needs the torchvision build that matches the installed torch.

    Source: Wightman 2019, PyTorch Image Models; the default is a small ConvNeXt, Liu et al. 2022, A ConvNet for the 2020s.

    Args:
        backbone: Its name in timm, such as ``convnext_atto`` or ``vit_tiny_patch16_224``. A backbone with a fixed input size is built for
            the size of the frames.
        weights: A local file of its weights in timm's format (``.safetensors``), relative to the recipe that names it. timm adapts a first
            layer for three colours to K · C channels; a classifier is dropped. Null: random weights.
        scaling: How uint8 pixels x become floats. ``backbone``: x/255, standardised with the mean and standard deviation of each colour
            in timm's configuration, or with their averages over the colours if C is not 3; ``unit``: x/255; ``inverted``: 1 - x/255, so
            that a white background is zero; ``centered``: x/255 - 0.5; ``normalized``: each pixel standardised by its mean and variance
            over all frames so far.

    Raises:
        ValueError: timm has no such ``backbone``, the backbone can't take frames of this size, or ``weights`` is not a file of its weights.
    """

    requires: ClassVar[dict[str, str]] = {"timm": "pip install 'jepakit[timm]'"}
    reads: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(
        self,
        frames: FrameShape,
        *,
        backbone: str = "convnext_atto",
        weights: str | None = None,
        scaling: Scaling | Literal["backbone"] = "backbone",
    ) -> None:
        super().__init__()
        self.standardised = scaling == "backbone"
        self.scale = pixel_scaling(frames, "unit" if scaling == "backbone" else scaling)
        self.backbone = _make(backbone, frames, weights).train()
        config: Any = self.backbone.pretrained_cfg
        colours = torch.tensor((config["mean"], config["std"]))  # [2, 3]
        if frames.channels != 3:
            colours = colours.mean(dim=1, keepdim=True).expand(-1, frames.channels)
        mean, std = colours.repeat(1, frames.frames)[:, :, None, None]  # [K·C, 1, 1] each
        self.mean = nn.Buffer(mean, persistent=False)
        self.std = nn.Buffer(std, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D]."""
        images = as_images(self.scale(pixels))  # [B, K·C, H, W]
        if self.standardised:
            images = (images - self.mean) / self.std
        return with_leading(self.backbone(images), pixels)


def _make(name: str, frames: FrameShape, weights: str | None) -> nn.Module:
    """Build the backbone for K · C channels and the frames' size, without classifier, dropout or stochastic depth.

    Raises:
        ValueError: See `TimmBackbone`.
    """
    import timm

    if not timm.is_model(name):  # checked first, because timm would download names such as hf-hub:...
        near = nearest(name, timm.list_models())
        raise ValueError(f"backbone {name} is not in timm" + (f"; did you mean `{near}`?" if near else ""))
    channels, height, width = frames.frames * frames.channels, frames.height, frames.width
    options: dict[str, Any] = {}
    if weights:
        if not (weights.endswith(".safetensors") and Path(weights).is_file()):
            raise ValueError(f"weights {weights} is not a .safetensors file")
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": weights, "custom_load": False}}
    try:
        if timm.get_pretrained_cfg(name).fixed_input_size:
            options["img_size"] = (height, width)
        backbone: nn.Module = timm.create_model(name, in_chans=channels, num_classes=0, **options)
        with torch.no_grad():
            backbone.eval()(torch.zeros(1, channels, height, width))
    except (AssertionError, RuntimeError) as error:
        what = f"frames of {height}x{width} with K · C = {channels}" + (f" and the weights of {weights}" if weights else "")
        raise ValueError(f"backbone {name} cannot take {what}: {error}") from error
    if weights:
        _check_covers(weights, backbone)
    for module in backbone.modules():
        if isinstance(module, timm.layers.PatchEmbed) and (height % module.patch_size[0] or width % module.patch_size[1]):
            sides = "x".join(map(str, module.patch_size))
            raise ValueError(f"backbone {name} would drop pixels: its patches of {sides} do not divide {height}x{width}")
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, timm.layers.DropPath):
            module.drop_prob = 0.0
    return backbone


def _check_covers(weights: str, backbone: nn.Module) -> None:
    """Raise ValueError if the file lacks some of the backbone's tensors: timm would silently leave them random."""
    with safe_open(weights, framework="pt") as file:
        lacking = sorted(backbone.state_dict().keys() - set(file.keys()))
    if lacking:
        raise ValueError(f"weights {weights} lacks {len(lacking)} of the backbone's tensors, such as {lacking[0]}")

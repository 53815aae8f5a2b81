"""The rules for encoders and for the targets that follow them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jepakit.protocols import is_annealed
from jepakit.testing.modules import Inputs, Make, check_gradients, check_module, in_order, parameters_of, shake
from jepakit.testing.rules import Rules, expect, expect_same, expect_tensor
from jepakit.testing.settings import Setting
from jepakit.training.build import measure_width

LEADING = ((1,), (2,), (5,), (2, 3), (1, 2, 2))


def check_encoder(rules: Rules, make: Make, setting: Setting) -> None:
    """An encoder maps uint8 [*, K, C, H, W] to float [*, D], always by the same function."""

    def measured(seed: int) -> nn.Module:
        encoder: nn.Module = make(seed)
        measure_width(encoder, setting.frames, "cpu", setting.dtype)  # gives lazy layers their shapes
        return encoder

    with rules.rule("output", "refuse unsupported frames with a ValueError in the constructor"):
        width = measure_width(make(0), setting.frames, "cpu", setting.dtype)
    if "output" in rules.broken:
        return
    training, evaluating = measured(0).train(), measured(0).eval()
    with rules.rule("leading dimensions", "flatten them (pixels.flatten(0, -5)) and put them back (s_x.unflatten(0, pixels.shape[:-4]))"):
        for leading in LEADING:
            pixels = setting.pixels(*leading)
            s_x, flattened = (_seeded(evaluating, each) for each in (pixels, pixels.flatten(0, -5)))
            expect_tensor(f"s_x of pixels {list(pixels.shape)}", s_x, (*leading, width))
            expect_same(f"s_x of pixels {list(pixels.shape)} and of the same flattened", s_x.flatten(0, -2), flattened)
    pixels = setting.pixels(5)
    with rules.rule("one function", "acting and learning must see the same s_x: no batch normalisation, dropout or noise"):
        expect_same("s_x in train() and in eval()", training(pixels.clone()), evaluating(pixels.clone()))
        expect_same("s_x of the same pixels twice", training(pixels.clone()), training(pixels.clone()))
        expect_same("s_x of a stack alone and among others", training(pixels[:1].clone()), training(pixels.clone())[:1])
    with rules.rule("bf16", "under autocast, matrix products are bfloat16: cast the tensors you combine them with to the same dtype"):
        with torch.autocast("cpu", torch.bfloat16):
            s_x = training(pixels.clone())
        expect_tensor("s_x under autocast to bfloat16", s_x, (5, width))
    check_gradients(rules, measured, in_order, {"pixels": pixels}, ())
    check_module(rules, measured, in_order, {"pixels": pixels})


def check_target(rules: Rules, make: Make, setting: Setting) -> None:
    """A target acts as an encoder; ``update`` follows the online encoder without changing it."""
    online = setting.encoder()

    with rules.rule("output", "s_y has the shape of the online encoder's s_x"):
        target = make(0, encoder=online)
        for leading in LEADING:
            pixels = setting.pixels(*leading)
            expect_tensor(f"s_y of pixels {list(pixels.shape)}", target(pixels), (*leading, setting.width))
    if "output" in rules.broken:
        return
    with rules.rule("weights", "copy the encoder with copy.deepcopy(encoder).requires_grad_(False), or hold it in a tuple, unregistered"):
        expect(all(p.requires_grad for p in online.parameters()), "it froze the online encoder")
        asking = [name for name, parameter in parameters_of(target) if parameter.requires_grad]
        expect(not asking, f"its parameter `{asking[0] if asking else ''}` requires a gradient, but no optimizer has a target's parameters")
    if "weights" in rules.broken:
        return
    with rules.rule("update", "update under torch.no_grad(), and never write into the online encoder"):
        for _ in range(3):
            loss = (online(pixels) - target(pixels)).square().sum()
            loss.backward()
            shake(online)
            before = copy.deepcopy(online.state_dict())
            target.update(online)
            for name, tensor in online.state_dict().items():
                expect(torch.equal(tensor, before[name]), f"it changes the online encoder's `{name}`")
        expect_tensor("s_y after an update", target(pixels), (*pixels.shape[:-4], setting.width))
    with rules.rule("schedule", "anneal(progress) takes a float from 0 to 1"):
        if is_annealed(target):
            for progress in (0.0, 0.5, 1.0):
                target.anneal(progress)

    def trained(seed: int) -> Any:
        return make(seed, encoder=online)

    def used(target: Any, inputs: Inputs) -> Mapping[str, Tensor]:
        """s_y before and after one more update, so that averages and counters matter."""
        pixels = inputs["pixels"]
        following = copy.deepcopy(online).to(pixels.device)
        if pixels.device.type != "cpu":  # a target that holds the online encoder does not move it to the device itself
            target.update(following)
        before = target(pixels)
        target.update(following)
        return {"before an update": before, "after it": target(pixels)}

    check_module(rules, trained, used, {"pixels": setting.pixels(5)}, others=[online])


def _seeded(encoder: nn.Module, pixels: Tensor) -> Tensor:
    """s_x of a copy of ``pixels``, with a fixed seed: another rule covers randomness."""
    torch.manual_seed(0)
    return encoder(pixels.clone())

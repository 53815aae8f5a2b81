import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.encoders.vit import ViT
from jepakit.protocols import FrameShape

FRAMES = FrameShape(frames=3, channels=1, height=8, width=12)


def make(frames: FrameShape = FRAMES, **fields: Any) -> ViT:
    """A small ViT whose parameters are all of order 1, including biases and positions."""
    vit = ViT(frames, **{"dim": 8, "depth": 2, "heads": 2, "patch": 4} | fields)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return vit


def random_pixels(*leading: int, frames: FrameShape = FRAMES) -> Tensor:
    return torch.randint(0, 256, (*leading, *frames), dtype=torch.uint8)


def plain_vit(vit: ViT, stack: Tensor, scaling: str, final_norm: bool, readout: str) -> Tensor:
    """Encode one stack [K, C, H, W] patch by patch with a textbook transformer that computes every row of every block."""
    (p, q), tokens = vit.patch, [vit.class_token]
    number = {"inverted": lambda x: 1 - x / 255, "unit": lambda x: x / 255, "centered": lambda x: x / 255 - 0.5}[scaling]
    for t in range(stack.shape[0] // vit.tubelet):
        for i in range(stack.shape[2] // p):
            for j in range(stack.shape[3] // q):
                frames = stack[t * vit.tubelet : (t + 1) * vit.tubelet]
                square = number(frames[:, :, i * p : (i + 1) * p, j * q : (j + 1) * q].float())
                position = vit.position_t[t, 0, 0] + vit.position_i[0, i, 0] + vit.position_j[0, 0, j]
                tokens.append(vit.embed(square.reshape(-1)) + position)
    patches = len(tokens) - 1
    rows = torch.stack(tokens + (list(vit.registers) if vit.registers is not None else []))  # [L, D]
    for block in vit.blocks:
        normed = block.norm_attention(rows)
        query, (key, value) = block.query(normed), block.key_value(normed).chunk(2, dim=1)
        each = zip(*(x.chunk(block.heads, dim=1) for x in (query, key, value)), strict=True)
        rows = rows + block.project(torch.cat([F.scaled_dot_product_attention(*(x[None] for x in head))[0] for head in each], dim=1))
        rows = rows + block.mlp(block.norm_mlp(rows))
    rows = vit.norm(rows) if final_norm else rows
    read = rows[1 : 1 + patches]
    return {"class_token": rows[0], "patches": torch.cat(list(read)), "mean": sum(read) / patches}[readout]


@settings(max_examples=25)
@given(
    frames=st.builds(FrameShape, st.integers(1, 4), st.sampled_from([1, 3]), st.sampled_from([4, 8]), st.sampled_from([4, 12])),
    fields=st.fixed_dictionaries(
        {
            "patch": st.sampled_from([2, 4, "quarter"]),
            "depth": st.integers(1, 3),
            "heads": st.sampled_from([1, 2, 4]),
            "mlp_ratio": st.sampled_from([1.0, 2.5]),
            "scaling": st.sampled_from(["inverted", "unit", "centered"]),
            "final_norm": st.booleans(),
            "readout": st.sampled_from(["class_token", "patches", "mean"]),
            "positions": st.sampled_from(["learned", "sincos"]),
            "registers": st.integers(0, 2),
        }
    ),
    whole=st.booleans(),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_match_a_plain_transformer(frames: FrameShape, fields: dict[str, Any], whole: bool, seed: int) -> None:
    torch.manual_seed(seed)
    tubelet = frames.frames if whole else 2 - frames.frames % 2  # all frames, or 2 if their number is even, else 1
    vit, pixels = make(frames, tubelet=tubelet, **fields), random_pixels(2, frames=frames)

    fast = vit(pixels)
    slow = torch.stack([plain_vit(vit, stack, fields["scaling"], fields["final_norm"], fields["readout"]) for stack in pixels])
    mix = torch.randn(fast.shape)

    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)
    parameters = dict(vit.named_parameters())
    fast_gradients = torch.autograd.grad((fast * mix).sum(), list(parameters.values()))
    slow_gradients = torch.autograd.grad((slow * mix).sum(), list(parameters.values()))
    for name, mine, reference in zip(parameters, fast_gradients, slow_gradients, strict=True):
        scale = reference.abs().max().item()
        torch.testing.assert_close(mine, reference, rtol=1e-3, atol=1e-4 * scale + 1e-6, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize("readout", ["class_token", "mean"])
def test_any_leading_dimensions_are_accepted(leading: tuple[int, ...], readout: str) -> None:
    vit, pixels = make(readout=readout), random_pixels(*leading)

    s_x = vit(pixels)

    one_by_one = [vit(stack) for stack in pixels.reshape(-1, *FRAMES)]
    torch.testing.assert_close(s_x, torch.stack(one_by_one).reshape(*leading, 8) if one_by_one else torch.empty(*leading, 8))


@pytest.mark.parametrize(
    ("parameter", "dim", "swapped"),
    [
        ("position_t", -4, lambda pixels: pixels.flip(-4)),
        ("position_i", -2, lambda pixels: pixels.unflatten(-2, (2, 4)).flip(-3).flatten(-3, -2)),
        ("position_j", -1, lambda pixels: pixels.unflatten(-1, (3, 4)).flip(-2).flatten(-2, -1)),
    ],
)
def test_only_positions_encode_the_order_of_frames_and_patches(parameter: str, dim: int, swapped: Any) -> None:
    torch.manual_seed(0)
    vit, pixels = make(), random_pixels(4)
    before, after = vit(pixels), vit(swapped(pixels))
    assert (before - after).abs().amax(dim=1).min() > 1e-3

    nn.init.zeros_(getattr(vit, parameter))
    torch.testing.assert_close(vit(pixels), vit(swapped(pixels)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scaling", "white", "black"), [("inverted", 0.0, 1.0), ("unit", 1.0, 0.0), ("centered", 0.5, -0.5)])
def test_each_scaling_maps_white_and_black_to_its_limits(scaling: Any, white: float, black: float) -> None:
    vit = make(scaling=scaling)
    seen: list[Tensor] = []
    vit.embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    vit(torch.full((1, *FRAMES), 255, dtype=torch.uint8))
    vit(torch.zeros(1, *FRAMES, dtype=torch.uint8))

    torch.testing.assert_close(seen[0], torch.full_like(seen[0], white))
    torch.testing.assert_close(seen[1], torch.full_like(seen[1], black))


def test_the_last_block_computes_only_the_class_token() -> None:
    vit = make(depth=3)
    rows: list[int] = []
    for block in vit.blocks:
        block.mlp.register_forward_hook(lambda _, __, output: rows.append(output.shape[1]))

    vit(random_pixels(2))

    assert rows == [19, 19, 1]  # 3 frames x 2 x 3 patches, and the class token


@pytest.mark.parametrize("size", [(40, 60), (84, 84), (48, 48), (4, 8)])
def test_patch_quarter_gives_sixteen_patches_at_any_frame_size(size: tuple[int, int]) -> None:
    vit = ViT(FrameShape(3, 1, *size), dim=8, heads=2, patch="quarter", tubelet="all")
    assert vit.tokens(torch.zeros(2, 3, 1, *size, dtype=torch.uint8)).shape == (2, 1 + 16, 8)


def test_patch_quarter_refuses_a_side_that_is_no_multiple_of_4() -> None:
    with pytest.raises(ValueError, match=r"patch quarter needs .* multiples of 4, and its width is 66 pixels"):
        ViT(FrameShape(3, 1, 64, 66), patch="quarter")


@pytest.mark.parametrize(
    ("size", "patch", "wrong", "nearest"),
    [
        ((80, 120), 16, "width of 120", 20),
        ((80, 120), 12, "height of 80", 10),
        ((84, 84), 100, "height of 84", 84),
        ((7, 5), 2, "height of 7", 1),
    ],
)
def test_a_patch_that_does_not_divide_the_frame_is_refused(size: tuple[int, int], patch: int, wrong: str, nearest: int) -> None:
    with pytest.raises(ValueError, match=rf"patch {patch} .* {wrong} pixels; .* {size[0]}x{size[1]} is {nearest}$"):
        ViT(FrameShape(3, 1, *size), patch=patch)


def test_trunc_normal_sets_the_initial_weights() -> None:
    vit = ViT(FRAMES, dim=64, depth=2, heads=2, patch=4, init="trunc_normal")
    linears = [module for module in vit.modules() if isinstance(module, nn.Linear)]
    assert all(linear.bias.abs().max() == 0 for linear in linears)
    assert all(0.015 < linear.weight.std() < 0.025 for linear in linears)
    assert ViT(FRAMES, dim=64, depth=2, heads=2, patch=4).embed.weight.std() > 0.1  # PyTorch's default: 1/√(3 · 16)


def test_sincos_positions_match_the_formula() -> None:
    dim, places = 20, {"position_t": 3, "position_i": 2, "position_j": 3}  # 20 = 3 axes x 3 frequencies x (sin, cos), plus 2 unused
    vit = ViT(FRAMES, dim=dim, heads=2, patch=4, positions="sincos")
    for axis, (name, size) in enumerate(places.items()):
        for place in range(size):
            expected = [0.0] * dim
            for k in range(3):
                expected[6 * axis + k] = math.sin(place / 10_000 ** (k / 3))
                expected[6 * axis + 3 + k] = math.cos(place / 10_000 ** (k / 3))
            torch.testing.assert_close(getattr(vit, name).reshape(size, dim)[place], torch.tensor(expected))
    assert not places.keys() & dict(vit.named_parameters()).keys()
    assert places.keys() <= vit.state_dict().keys()

    sums = (vit.position_t + vit.position_i + vit.position_j).reshape(-1, dim)
    assert torch.cdist(sums, sums).fill_diagonal_(1).min() > 0.1  # every patch has a distinct position


def test_a_dim_too_small_for_sincos_positions_is_refused() -> None:
    ViT(FRAMES, dim=6, heads=2, patch=4, positions="sincos")
    with pytest.raises(ValueError, match="dim 5 is too small for sincos positions"):
        ViT(FRAMES, dim=5, heads=1, patch=4, positions="sincos")


def test_registers_do_not_change_the_other_initial_weights() -> None:
    torch.manual_seed(0)
    without = ViT(FRAMES, dim=8, heads=2, patch=4).state_dict()
    torch.manual_seed(0)
    vit = ViT(FRAMES, dim=8, heads=2, patch=4, registers=2)
    drawn = dict(vit.state_dict())
    registers = drawn.pop("registers")

    assert registers.shape == (2, 8)
    assert drawn.keys() == without.keys()
    assert all(torch.equal(drawn[name], without[name]) for name in without)


def test_default_initial_weights_are_those_of_recorded_runs() -> None:
    """Recorded runs and checkpoints depend on the order of names, shapes and random draws."""
    torch.manual_seed(0)
    vit = ViT(FRAMES, dim=8, depth=1, heads=2, patch=4)
    torch.manual_seed(0)
    nn.Linear(16, 8)
    expected = {"class_token": (8,), "position_t": (3, 1, 1, 8), "position_i": (1, 2, 1, 8), "position_j": (1, 1, 3, 8)}
    for name, shape in expected.items():
        assert torch.equal(getattr(vit, name), nn.init.trunc_normal_(torch.zeros(shape), std=0.02)), name
    assert torch.equal(vit.blocks[0].query.weight, nn.Linear(8, 8).weight)
    assert list(dict(vit.named_parameters()))[:6] == [*expected, "embed.weight", "embed.bias"]
    assert not dict(vit.named_buffers())


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_tubelet_all_spans_all_frames(frames: int) -> None:
    torch.manual_seed(0)
    every = make(FRAMES._replace(frames=frames), tubelet="all")
    torch.manual_seed(0)
    k = make(FRAMES._replace(frames=frames), tubelet=frames)
    pixels = random_pixels(2, frames=FRAMES._replace(frames=frames))
    assert torch.equal(every(pixels), k(pixels))


def test_a_tubelet_must_divide_the_frames() -> None:
    with pytest.raises(ValueError, match="tubelet 2 does not divide the 3 frames"):
        make(tubelet=2)


def test_heads_must_divide_dim() -> None:
    with pytest.raises(ValueError, match="heads 3 does not divide dim 8"):
        ViT(FRAMES, dim=8, heads=3, patch=4)


def test_bf16_stays_close_to_fp32() -> None:
    torch.manual_seed(0)
    vit, pixels = make(dim=16), random_pixels(16)

    exact = vit(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = vit(pixels).float()

    assert not torch.equal(rounded, exact)
    assert (rounded - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize(("tubelet", "registers"), [(1, 0), (3, 2)])
def test_attention_is_the_class_tokens_softmax_over_all_tokens_of_the_last_block(tubelet: int, registers: int) -> None:
    vit = make(tubelet=tubelet, registers=registers)
    pixels = random_pixels(2)
    found = vit.attention(pixels)
    assert found is not None
    assert found.shape == (2, 3 // tubelet, 2, 3)
    for n, stack in enumerate(pixels):
        tokens = vit.blocks[0](vit.tokens(stack[None]))[0]
        last = vit.blocks[1]
        normed = last.norm_attention(tokens)
        query, keys = last.query(normed)[0], last.key_value(normed)[:, :8]
        weights = torch.zeros(len(tokens))
        for head in (slice(0, 4), slice(4, 8)):
            weights += torch.stack([(query[head] @ key[head]) / math.sqrt(4) for key in keys]).softmax(dim=0) / 2
        assert torch.allclose(found[n].flatten(), weights[1 : 1 + 18 // tubelet], atol=1e-6)


def test_there_is_no_attention_to_show_where_the_class_token_is_not_read() -> None:
    assert make(readout="mean").attention(random_pixels(1)) is None

"""Device, precision and threads of a run, resolved from the recipe and hardware features, never from a timing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from typing import TYPE_CHECKING, NamedTuple

import torch

from jepakit.components.shared import ranks
from jepakit.errors import UserError
from jepakit.machine.group import local_rank, local_size

if TYPE_CHECKING:
    from jepakit.recipe import Recipe


class Hardware(NamedTuple):
    """``device``, ``precision`` and ``threads``, with every ``auto`` resolved for this machine."""

    device: str
    precision: str
    threads: int

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which encoders run."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)


def resolve_hardware(device: str, precision: str, threads: int | str) -> Hardware:
    """Replace every ``auto``.

    Raises:
        UserError: The requested device is not available.
    """
    device = _resolve_device(device)
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(device) else "fp32"
    return Hardware(device, precision, max(1, usable_cores() // local_size()) if threads == "auto" else int(threads))


def settle(recipe: Recipe) -> tuple[Recipe, Hardware]:
    """Resolve every hardware ``auto``, also in the returned recipe, and configure this process accordingly.

    Raises:
        RecipeError: The requested device is not available.
    """
    try:
        hardware = resolve_hardware(recipe.device, recipe.precision, recipe.threads)
    except UserError as error:
        raise recipe.error("device", str(error)) from error
    keep_freed_memory()
    torch.set_num_threads(hardware.threads)
    return recipe.model_copy(update=hardware._asdict()), _of_rank(recipe, hardware)


def _of_rank(recipe: Recipe, hardware: Hardware) -> Hardware:
    """The hardware of this rank: each has a GPU of its own."""
    if ranks.size() == 1 or hardware.device == "cpu":
        return hardware
    if hardware.device != "cuda":
        raise recipe.error("device", f"{ranks.size()} ranks cannot share {hardware.device}", "`device: cuda`, a GPU for each, or `cpu`")
    if local_rank() >= torch.cuda.device_count():
        wrong = f"{local_size()} ranks on this machine, but only {torch.cuda.device_count()} GPUs"
        raise recipe.error("device", wrong, f"torchrun --nproc-per-node {torch.cuda.device_count()}, or `device: cpu`")
    return hardware._replace(device=f"cuda:{local_rank()}")


def keep_freed_memory() -> None:
    """Make glibc keep the memory that torch frees, instead of returning it to the kernel at every step.

    Otherwise the kernel maps and zeroes each large activation again, which takes a third of a ViT's forward pass on a CPU
    (``benchmarks/throughput.py``). Does nothing without glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        m_trim_threshold, m_mmap_threshold, a_gigabyte = -1, -3, 1 << 30  # malloc.h
        libc = ctypes.CDLL(None)
        libc.mallopt(m_trim_threshold, a_gigabyte)
        libc.mallopt(m_mmap_threshold, a_gigabyte)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _resolve_device(device: str) -> str:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    kind, _, index = device.partition(":")
    if not available.get(kind) or (index and kind == "cuda" and int(index) >= torch.cuda.device_count()):
        here = ", ".join(name for name, there in available.items() if there)
        raise UserError(f"device {device!r} is not available here; available: {here}")
    return device


def has_fast_bf16(device: str) -> bool:
    """Whether the hardware multiplies bf16 natively."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere and later multiply bf16 in hardware
    if device == "cpu":
        features = torch.cpu.get_capabilities()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return False

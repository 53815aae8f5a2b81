"""Operations of an update, and the machine's own rate of matrix products, with which the update's rate is compared."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from jepakit.machine.hardware import Hardware

SIDE = {"cpu": 1024, "cuda": 8192, "mps": 4096}  #: of the square matrices, large enough to reach the peak
REPEATS = 10


class FlopCounter(TorchDispatchMode):
    """Counts the operations of matrix products, convolutions and attention in its context, forwards and backwards.

    torch's own ``FlopCounterMode`` also attributes them to modules, which fails for TorchRL's losses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out


def peak_flops(hardware: Hardware) -> float:
    """FLOP/s of the fastest of some products of square matrices, in the hardware's precision and with its threads."""
    side = SIDE[torch.device(hardware.device).type]
    dtype = torch.bfloat16 if hardware.precision == "bf16" else torch.float32
    left, right = (torch.ones(side, side, dtype=dtype, device=hardware.device) for _ in range(2))
    product = synchronised(lambda: left @ right, hardware)
    product()  # the first call prepares the kernel
    fastest = float("inf")
    for _ in range(REPEATS):
        started = perf_counter()
        product()
        fastest = min(fastest, perf_counter() - started)
    return 2 * side**3 / fastest


def synchronised(work: Callable[[], object], hardware: Hardware) -> Callable[[], None]:
    """``work`` followed by a wait until the device has finished it."""

    def waited() -> None:
        work()
        if hardware.device.startswith("cuda"):
            torch.cuda.synchronize(hardware.device)
        elif hardware.device == "mps":
            torch.mps.synchronize()

    return waited

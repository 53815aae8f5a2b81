import os
import time
from typing import Any

import pytest
import torch

from jepakit.errors import UserError
from jepakit.machine.hardware import Hardware, resolve_hardware


def test_explicit_settings_are_kept() -> None:
    assert resolve_hardware("cpu", "fp32", 3) == Hardware("cpu", "fp32", 3)
    assert resolve_hardware("cpu", "bf16", 1) == Hardware("cpu", "bf16", 1)


@pytest.mark.parametrize(
    ("features", "precision"),
    [({}, "fp32"), ({"avx512_f": True, "avx512_bf16": False}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")],
)
def test_auto_precision_depends_on_the_cpu(monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], precision: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert resolve_hardware("cpu", "auto", 1).precision == precision


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_precision_depends_on_the_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_hardware("auto", "auto", 1) == Hardware("cuda", precision, 1)


@pytest.mark.parametrize(("there", "device"), [({"cuda", "mps"}, "cuda"), ({"mps"}, "mps"), (set(), "cpu")])
def test_auto_chooses_the_best_available_device(monkeypatch: pytest.MonkeyPatch, there: set[str], device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
    assert resolve_hardware("auto", "fp32", 1).device == device


def test_auto_reads_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_clock() -> Any:
        raise AssertionError("a clock was read")

    for clock in ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns", "process_time"):
        monkeypatch.setattr(time, clock, no_clock)
    assert resolve_hardware("auto", "auto", "auto") == resolve_hardware("auto", "auto", "auto")


def test_auto_threads_are_the_cores_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 5}, raising=False)
    assert resolve_hardware("cpu", "fp32", "auto").threads == 3


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "tpu"])
def test_an_unavailable_device_is_refused(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"device '{device}' is not available here; available: cpu$"):
        resolve_hardware(device, "auto", "auto")


def test_a_gpu_index_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_hardware("cuda:1", "fp32", 1).device == "cuda:1"
    with pytest.raises(UserError, match="cuda:2"):
        resolve_hardware("cuda:2", "fp32", 1)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_uses_the_precision(precision: str, dtype: torch.dtype) -> None:
    with Hardware("cpu", precision, 1).autocast():
        assert torch.nn.Linear(2, 2)(torch.randn(1, 2)).dtype == dtype

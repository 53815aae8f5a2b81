"""What machine, which versions and which commit a measurement is of."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from jepakit.machine.hardware import has_fast_bf16, usable_cores

PACKAGES = ("torch", "torchrl", "tensordict", "gymnasium", "stable_baselines3", "envpool", "numpy", "pygame-ce")


def described() -> dict[str, Any]:
    """Hardware, versions, commit and day."""
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "--untracked-files=no") else ""),
        "processor": _processor(),
        "cores": usable_cores(),
        "fast_bf16": has_fast_bf16("cpu"),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _git(*words: str) -> str:
    here = Path(__file__).parent
    return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or torch.backends.cpu.get_cpu_capability()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

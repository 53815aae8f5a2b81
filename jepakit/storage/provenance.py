"""A run's provenance: code, packages, hardware, command line."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from jepakit.machine.hardware import Hardware, usable_cores
from jepakit.version import __version__

PACKAGES = ("torch", "torchrl", "tensordict", "gymnasium", "numpy", "pydantic")
#: Module -> package.
OPTIONAL = {"ale_py": "ale-py", "dm_control": "dm_control", "minigrid": "minigrid", "mujoco": "mujoco", "timm": "timm"}


def provenance(hardware: Hardware) -> dict[str, Any]:
    """The content of ``provenance.json``."""
    device = torch.device(hardware.device)
    return {
        "command": sys.argv,
        "git": _git_state(),
        "python": platform.python_version(),
        "packages": {"jepakit": __version__} | {name: version(name) for name in PACKAGES} | _used(),
        "platform": platform.platform(),
        "cpu": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "cores": usable_cores(),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        **hardware._asdict(),
        "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _used() -> dict[str, str]:
    """Those of the optional packages that this process has imported."""
    found = {}
    for module, package in OPTIONAL.items():
        if sys.modules.get(module):
            with suppress(PackageNotFoundError):
                found[package] = version(package)
    return found


def _git_state() -> dict[str, Any] | None:
    """SHA and dirty flag of the checkout that jepakit runs from; None if it is installed from a package."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=True)
        sha = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"sha": sha, "dirty": bool(dirty)}

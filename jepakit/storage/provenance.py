"""A run's provenance: code, packages, hardware, command line."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from jepakit.errors import shown
from jepakit.machine.hardware import Hardware, usable_cores
from jepakit.version import __version__

PACKAGES = ("torch", "torchrl", "tensordict", "gymnasium", "numpy", "pydantic")
#: Module -> package.
OPTIONAL = {"ale_py": "ale-py", "dm_control": "dm_control", "minigrid": "minigrid", "mujoco": "mujoco", "timm": "timm"}
EDITED = "code that the recipe uses (a plug-in, a wrapper or a component's class) was edited"


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


def differences(then: Mapping[str, Any], now: Mapping[str, Any], folders: Mapping[str, Path]) -> Iterator[str]:
    """What is no longer as it was when a run began: a warning for each.

    Args:
        then: The run's ``provenance.json``, perhaps from somebody else.
        now: What it would say now.
        folders: The folders of data that the recipe names, by the path of the field that names each.
    """
    data, packages, same_data = then.get("data"), then.get("packages"), True
    for place, digest in now["data"].items():
        before = data.get(place, digest) if isinstance(data, dict) else digest
        if before != digest:
            same_data = False
            digests = f"SHA-256 {shown(str(before), 12)} then, {shown(str(digest), 12)} now"
            wrong = f"`{place}`, {folders[place]}, does not hold the data that the run began with ({digests})"
            yield f"{wrong}: the result will belong to neither; put the data back, or begin a new run with this data"
    if code_was_edited(then, now["sources"]):
        yield f"{EDITED} since the run began: the result will belong to neither version"
    elif same_data and then.get("id") not in (None, now["id"]):
        ids = f"({shown(str(then['id']))} then, {now['id']} now)"
        began = then.get("sources")
        if isinstance(began, list) and {*map(str, began)} < {*now["sources"]}:
            yield f"the id covers more code than when the run began {ids}: recipe.yaml was edited, or this version of jepakit counts more"
        else:
            yield f"recipe.yaml was edited since the run began {ids}: the result will belong to neither recipe"
    if isinstance(packages, dict):
        pairs = [(name, packages.get(name, version), version) for name, version in now["packages"].items()]
        if changed := [f"{name} {shown(str(before))} -> {version}" for name, before, version in pairs if before != version]:
            yield f"packages have changed since the run began: {', '.join(changed)}"


def code_was_edited(then: Mapping[str, Any], sources: Iterable[str]) -> bool:
    """Whether code from outside jepakit that a run began with is not there any more.

    Args:
        then: The run's ``provenance.json``, perhaps from somebody else.
        sources: The digests of what its recipe uses now.
    """
    began, weights = then.get("sources"), then.get("weights_sha256") or []
    return isinstance(began, list) and isinstance(weights, list) and not {*map(str, began)} <= {*map(str, weights), *sources}


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

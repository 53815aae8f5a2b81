"""Checks whether a run would work on this machine, and gives the command that fixes each thing that does not."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from jepakit.files.shared import MORE_SHARED, SHARED
from jepakit.files.writing import readable

LEAST_PYTHON = (3, 11)
LEAST_SHARED = 128_000_000  #: bytes of shared memory; a container often gets 64 MB
LEAST_DISK = 100_000_000  #: bytes; a run of the main recipe writes some 3 MB
IMPORTED = {"pillow": "PIL", "pyyaml": "yaml"}  #: packages whose module has another name


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    found: str
    works: bool = True
    fix: str = ""  #: a command, or another instruction


def examine(runs: Path) -> list[Finding]:
    """Run all checks.

    Args:
        runs: Folder in which runs would be written.
    """
    findings = [_python(), *_packages(), *_extras()]
    for what, look in (("device", _device), ("cores", _cores), ("rendering", _rendering), ("recipes", _recipes)):
        findings.append(_tried(what, look))
    return [*findings, *_shared_memory(), _disk(runs)]


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, look())
    except Exception as error:  # any failure is a finding
        lines = str(error).strip().splitlines()
        return Finding(what, f"{type(error).__name__}: {lines[0] if lines else ''}", works=False, fix="see the packages above")


def _python() -> Finding:
    least = ".".join(map(str, LEAST_PYTHON))
    fits = sys.version_info >= LEAST_PYTHON
    return Finding("python", platform.python_version(), fits, "" if fits else f"install Python {least} or later")


def _packages() -> Iterator[Finding]:
    """Check that each package in jepakit's metadata is installed in a version that fits, and can be imported."""
    from packaging.requirements import Requirement

    for line in metadata.requires("jepakit") or ():
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate():
            continue  # belongs to an extra
        extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
        bare = f"{wanted.name}{extras}{wanted.specifier}"
        fix = f"pip install '{bare}'"
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            yield Finding(wanted.name, "missing", works=False, fix=fix)
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            yield Finding(wanted.name, f"{version}, which is not {wanted.specifier}", works=False, fix=fix)
            continue
        try:
            importlib.import_module(IMPORTED.get(wanted.name, wanted.name))
        except Exception as error:
            again = f"pip install --force-reinstall '{bare}'"
            yield Finding(wanted.name, f"{version}, cannot be imported: {type(error).__name__}: {error}", works=False, fix=again)
            continue
        yield Finding(wanted.name, version)


def _extras() -> Iterator[Finding]:
    """Packages that only some components need; runs without those components work."""
    extras = [extra for extra in metadata.metadata("jepakit").get_all("Provides-Extra") or () if extra != "dev"]
    for extra in extras:
        try:
            found, fix = ", ".join(f"{name} {metadata.version(name)}" for name in dict.fromkeys(_of_extra("jepakit", extra))), ""
        except metadata.PackageNotFoundError as error:
            found, fix = f"without {error.name}; only what uses it needs it", f"pip install 'jepakit[{extra}]'"
        yield Finding(extra, found, fix=fix)


def _of_extra(distribution: str, extra: str) -> Iterator[str]:
    """The packages that an extra of an installed distribution asks for, and those of the extras that it names in turn.

    Raises:
        PackageNotFoundError: One whose extras are asked for is not installed.
    """
    from packaging.requirements import Requirement

    for line in metadata.requires(distribution) or ():
        wanted = Requirement(line)
        if wanted.marker and wanted.marker.evaluate({"extra": extra}) and not wanted.marker.evaluate({"extra": ""}):
            yield wanted.name
            for further in wanted.extras:
                yield from _of_extra(wanted.name, further)


def _device() -> str:
    import torch

    from jepakit.machine.hardware import has_fast_bf16, resolve_hardware

    device = resolve_hardware("auto", "auto", "auto").device
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else torch.cpu.get_capabilities().get("cpu_name", "")
    precision = "bf16 natively" if has_fast_bf16(device) else "no native bf16: `precision: auto` is fp32"
    return ", ".join(filter(None, (device, str(name or platform.processor() or platform.machine()), precision)))


def _cores() -> str:
    from jepakit.machine.hardware import resolve_hardware, usable_cores

    usable, there = usable_cores(), os.cpu_count() or 1
    beside = f" of {there}" if usable < there else ""
    return f"{usable}{beside} usable; `threads: auto` is {resolve_hardware('cpu', 'auto', 'auto').threads}"


def _rendering() -> str:
    from jepakit.components.envs.simulators import draw, make_simulator

    simulator = make_simulator("CartPole-v1", None, {})
    try:
        height, width, _ = draw(simulator).shape
    finally:
        simulator.close()
    return f"CartPole-v1 draws {height}×{width}, SDL's video driver {os.environ.get('SDL_VIDEODRIVER')}"


def _recipes() -> str:
    from jepakit.recipe import load_recipe
    from jepakit.recipe.shipped import shipped_recipes

    load_recipe("cartpole_pixels")
    return f"{len(shipped_recipes())} shipped"


def _shared_memory() -> Iterator[Finding]:
    """The room for the batches of a collector's workers. Other runs need none: an env's `processes` have memory elsewhere."""
    if SHARED.is_dir():
        free = shutil.disk_usage(SHARED).free
        hint = f"little for the collectors `multi_*`: {MORE_SHARED}" if free < LEAST_SHARED else ""
        yield Finding("shared memory", f"{readable(free)} free at {SHARED}", fix=hint)


def _disk(runs: Path) -> Finding:
    there = next(path for path in (runs.absolute(), *runs.absolute().parents) if path.exists())
    elsewhere = "name a folder with `jepakit run --out DIR`"
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding("disk", f"{there} cannot be written to", works=False, fix=elsewhere)
    free = shutil.disk_usage(there).free
    enough = free >= LEAST_DISK
    return Finding("disk", f"{readable(free)} free at {runs}", enough, "" if enough else f"make room, or {elsewhere}")

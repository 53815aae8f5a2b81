"""``jepakit validate``. More tests of it on sweeps are in test_ablate."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import gymnasium
import pytest
import torch

from jepakit.cli import validate
from tests.cli.conftest import Cli

SMALL = "env: {kind: gym, id: CartPole-v1, num_envs: 1, size: [8, 12]}\n"
ENCODER = (
    "encoder: {kind: vit, dim: 8, depth: 1, heads: 2, patch: 4}\nalgorithm: {kind: ppo, rollout_steps: 8, minibatch_size: 8}\nthreads: 1\n"
)
EVIL = "open('it_ran', 'w')\n"


@pytest.fixture(autouse=True)
def no_untrusted_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Provides modules that leave a trace when they run, and checks that no test ran them."""
    for name in ("evil.py", "evil_module.py", "evil_env.py", "evil_package.py"):
        (tmp_path / name).write_text(EVIL)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert not (tmp_path / "it_ran").exists()


def written(folder: Path, text: str) -> str:
    (folder / "r.yaml").write_text(text)
    return "r.yaml"


def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [metadata.EntryPoint("evil", "evil_package", "jepakit.components")]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == "jepakit.components" else [])


def test_no_plugins_still_checks_everything_built_in(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    recipe = written(tmp_path, SMALL + ENCODER + "plugins: [./evil.py, evil_module]\n")
    code, out, err = cli("validate", recipe, "--no-plugins")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "valid as far as checked: r"
    assert lines[1].startswith("pixels [K, C, H, W] = [3, 1, 8, 12], s_x [D] = [8]")
    assert lines[-3:] == [
        f"not imported: the plug-in `{tmp_path / 'evil.py'}`",
        "not imported: the plug-in `evil_module`",
        "not imported: the package `evil`",
    ]


@pytest.mark.parametrize("bring", ["plugins: [./evil.py]", "plugins: [evil_module]", ""])
def test_a_kind_that_a_plugin_may_register_is_neither_an_error_nor_valid(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bring: str
) -> None:
    if not bring:
        installed(monkeypatch)
    recipe = written(tmp_path, f"{SMALL}encoder: {{kind: theirs, width: 3}}\n{bring}\n")
    code, out, _ = cli("validate", recipe, "--no-plugins")
    assert (code, out.splitlines()[0]) == (0, "no mistake found, but the check is incomplete: nothing was built")
    assert "r.yaml:2:17: jepakit has no encoder `theirs` of its own" in out
    code, _, err = cli("validate", recipe, "--no-plugins", "--set", "seed=-1")
    assert code == 2
    assert "--set #1: `seed` cannot be `-1`" in err


def test_an_unknown_kind_is_an_error_if_no_plugin_could_register_it(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("validate", written(tmp_path, f"{SMALL}encoder: {{kind: vti}}\n"), "--no-plugins")
    assert code == 2
    assert "unknown encoder `vti`" in err


@pytest.mark.parametrize("extended", [False, True])
def test_an_envs_module_is_not_imported(cli: Cli, tmp_path: Path, extended: bool) -> None:
    recipe = written(tmp_path, SMALL.replace("CartPole", "evil_env:CartPole") + ENCODER)
    if extended:
        (tmp_path / "r.yaml").rename(tmp_path / "base.yaml")
        recipe = written(tmp_path, "extends: base.yaml\nsweep: {seeds: 2, grid: {encoder.dim: [8, 16]}}\n")
    code, out, _ = cli("validate", recipe, "--no-plugins")
    assert code == 0
    assert "not run: the module `evil_env` of the env's id, so nothing was built" in out
    assert ("a sweep of 2 configurations" in out) == extended


def test_nor_is_the_module_of_a_wrapper(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_wrapper.py").write_text("raise SystemExit('code was run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = written(tmp_path, SMALL.replace("id: CartPole", 'wrappers: [{path: "evil_wrapper:W"}], id: CartPole') + ENCODER)
    code, out, _ = cli("validate", recipe, "--no-plugins")
    assert code == 0
    assert "not run: the env's wrapper `evil_wrapper:W`, so nothing was built" in out


def test_every_configuration_of_a_sweep_is_checked(cli: Cli, tmp_path: Path) -> None:
    recipe = written(tmp_path, SMALL + ENCODER + "sweep: {grid: {encoder.patch: [4, 7]}}\n")
    code, _, err = cli("validate", recipe, "--no-plugins")
    assert code == 2
    assert "r.yaml:5:35: patch 7 does not divide" in err


def test_an_oversized_model_hits_the_time_limit(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "PATIENCE", 0.3)
    before = signal.getsignal(signal.SIGPROF)
    code, _, err = cli("validate", written(tmp_path, SMALL + ENCODER.replace("depth: 1", "depth: 10_000_000")))
    assert code == 2
    assert err.startswith("r.yaml:2:10: one fake batch of `r` takes more than 0.3 s of CPU time")
    assert signal.getsignal(signal.SIGPROF) == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert torch.is_grad_enabled()


def test_too_many_simulators_are_refused(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("validate", written(tmp_path, SMALL + ENCODER), "--set", "env.num_envs=1_000_000")
    assert (code, err.splitlines()[0]) == (2, "--set #1: num_envs 1000000 is more simulators than one process can step: at most 4096")


def test_a_component_that_calls_exit_is_reported_at_its_place(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text(
        "import sys, torch\nfrom jepakit import register\n@register('encoder', 'exits')\nclass Exits(torch.nn.Module):\n"
        "    def __init__(self, frames): super().__init__()\n    def forward(self, pixels): sys.exit(5)\n"
    )
    code, _, err = cli("validate", written(tmp_path, SMALL + "encoder: {kind: exits}\nplugins: [exits.py]\n"))
    assert (code, err.splitlines()[0]) == (2, "r.yaml:2:10: SystemExit: 5 (exits.py, line 6)")


def test_an_env_that_fails_in_random_play_is_reported_at_its_place(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fragile_env.py").write_text(
        "from gymnasium.envs.classic_control import CartPoleEnv\n\n\n"
        "class Fragile(CartPoleEnv):\n    def step(self, action):\n        raise KeyError('nope')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    gymnasium.register("Fragile-v0", entry_point="fragile_env:Fragile")
    try:
        recipe = written(tmp_path, SMALL.replace("CartPole-v1", "Fragile-v0") + ENCODER)
        code, out, err = cli("validate", recipe)
    finally:
        gymnasium.registry.pop("Fragile-v0")
    assert (code, out) == (2, "")
    assert re.match(
        r"r\.yaml:1:6: in random play Fragile-v0: step\([01]\) raised KeyError: 'nope' "
        r"\(after 0 steps of an episode of simulator 0, seeded with \d+\) \(in fragile_env.*line 6; `jepakit --traceback …`",
        err,
    ), err
    assert "Traceback" not in err

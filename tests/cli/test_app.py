"""What all verbs share: lazy imports, exit codes, and messages printed verbatim."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

import jepakit
from jepakit.cli.app import VERBS, app
from jepakit.errors import UserError

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

HEAVY = {"torch", "torchrl", "tensordict", "gymnasium", "numpy", "pydantic", "yaml"}


def test_help_imports_nothing_heavy_and_lists_every_verb() -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "jepakit", "--help"], capture_output=True, text=True, timeout=60)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported  # the import report was parsed
    assert not imported & HEAVY
    assert all(f" {verb} " in done.stdout for verb in VERBS)


def test_import_is_lazy_and_exposes_the_whole_api() -> None:
    code = f"""
import sys, jepakit
jepakit.UserError, jepakit.FrameShape, jepakit.Encoder, dir(jepakit), jepakit.__version__
sys.exit(", ".join({HEAVY} & {{name.partition(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == ""
    assert all(getattr(jepakit, name).__name__ == name for name in jepakit.__all__)
    assert set(jepakit.__all__) <= set(dir(jepakit))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = jepakit.nonsense


@pytest.fixture
def verb_that() -> Iterator[Callable[[BaseException], None]]:
    """Adds a verb ``boom`` that raises the given error."""

    def add(error: BaseException) -> None:
        @app.command("boom")
        def boom() -> None:
            raise error

    registered = list(app.registered_commands)
    yield add
    app.registered_commands[:] = registered


def test_another_tools_verb_gets_a_suggestion(cli: Cli) -> None:
    code, _, err = cli("train", "cartpole_pixels")
    assert code == 2
    assert "No such command 'train'. Did you mean 'run'?" in err


@pytest.mark.parametrize("verb", ["run", "validate", "show"])
def test_an_override_without_an_equals_sign_is_shown_corrected(cli: Cli, verb: str) -> None:
    told = "--set encoder.dim 32: write --set encoder.dim=32\n"
    assert cli(verb, "cartpole_pixels", "--set", "encoder.dim", "32") == (2, "", told)


def test_a_users_mistake_exits_2_with_its_message_verbatim(cli: Cli, verb_that: Callable[[BaseException], None]) -> None:
    message = f"recipe.yaml:3:5: {'long ' * 60}[red]\n  encoder: x\n           ^"
    verb_that(UserError(message))
    assert cli("boom") == (2, "", message + "\n")


def test_a_failure_exits_1_with_its_traceback(cli: Cli, verb_that: Callable[[BaseException], None]) -> None:
    verb_that(ZeroDivisionError("by zero"))
    code, out, err = cli("boom")
    assert (code, out) == (1, "")
    assert "Traceback" in err
    assert err.endswith("\nfailed: ZeroDivisionError: by zero (in tests.cli.test_app, line 51)\n")


def test_a_failure_with_a_saved_traceback_prints_only_its_path(cli: Cli, verb_that: Callable[[BaseException], None]) -> None:
    error = ZeroDivisionError("by zero")
    error.add_note("traceback: runs/x/traceback.txt")
    verb_that(error)
    assert cli("boom") == (1, "", "failed: ZeroDivisionError: by zero (in tests.cli.test_app, line 51)\ntraceback: runs/x/traceback.txt\n")


def test_an_interrupt_exits_130(cli: Cli, verb_that: Callable[[BaseException], None]) -> None:
    verb_that(KeyboardInterrupt())
    code, _, err = cli("boom")
    assert code == 130
    assert "Traceback" not in err


def test_version_and_wrong_usage(cli: Cli) -> None:
    assert cli("--version") == (0, f"jepakit {jepakit.__version__}\n", "")
    code, _, err = cli("shwo")
    assert code == 2
    assert "show" in err
    assert cli("list", "--no-such-option").code == 2

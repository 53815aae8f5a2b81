"""What all verbs share: lazy imports, exit codes, and messages printed verbatim."""

from __future__ import annotations

import errno
import os
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jepakit
from jepakit.cli.app import VERBS, app
from jepakit.cli.result import tell
from jepakit.errors import UserError
from jepakit.training.run import RunResult

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


@pytest.mark.parametrize("verb", ["ablate", "tune", "reproduce"])
def test_a_verb_that_starts_runs_refuses_torchrun(verb: str, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = cli(verb, "cartpole_pixels", "--space", "none.yaml")
    assert done.code == 2
    assert f"each of its 2 processes would `{verb}`" in done.err
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert "torchrun" not in cli(verb, "--help").err


def test_a_finished_run_on_ranks_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "provenance.json").write_text('{"ranks": 2}')
    tell(RunResult(tmp_path, {"status": "finished"}, fresh=False))
    assert f"torchrun --nproc-per-node 2 -m jepakit resume {tmp_path} --total-steps N" in capsys.readouterr().out


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
    assert err.endswith("\nfailed: ZeroDivisionError: by zero (in tests.cli.test_app, line 76)\n")


def test_a_failure_with_a_saved_traceback_prints_only_its_path(cli: Cli, verb_that: Callable[[BaseException], None]) -> None:
    error = ZeroDivisionError("by zero")
    error.add_note("traceback: runs/x/traceback.txt")
    verb_that(error)
    assert cli("boom") == (1, "", "failed: ZeroDivisionError: by zero (in tests.cli.test_app, line 76)\ntraceback: runs/x/traceback.txt\n")


def test_want_of_memory_is_one_line(cli: Cli, verb_that: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (614_400_000, resource.RLIM_INFINITY))
    verb_that(MemoryError())
    told = "failed: this process ran out of memory: it may have 614 MB, a limit that `ulimit -v unlimited` lifts\n"
    assert cli("boom") == (1, "", told)


def test_want_of_room_is_one_line(cli: Cli, verb_that: Callable[[BaseException], None]) -> None:
    verb_that(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/tune.json"))
    told = "failed: no room left to write: [Errno 28] No space left on device: 'runs/tune.json'\n"
    assert cli("boom") == (1, "", told)


def test_a_current_folder_that_is_gone_is_a_mistake(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave_and_look() -> None:
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        Path.cwd()

    registered = list(app.registered_commands)
    app.command("boom")(leave_and_look)
    told = cli("boom")
    app.registered_commands[:] = registered
    assert told == (2, "", "the current folder has been removed: change to another\n")


def test_an_opengl_that_mujoco_refuses_is_a_mistake(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    module = compile("raise RuntimeError('invalid value')", "gl_context.py", "exec")
    registered = list(app.registered_commands)
    app.command("boom")(lambda: exec(module, {"__name__": "mujoco.gl_context"}))
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    code, out, err = cli("boom")
    app.registered_commands[:] = registered
    assert (code, out) == (2, "")
    assert err.startswith("MUJOCO_GL=nonsense: MuJoCo cannot be imported with it (RuntimeError: invalid value); unset it, or write")
    assert err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("--version >/dev/full", 1, "failed: the result cannot be printed: No space left on device\n"),
        ("--help >/dev/full", 1, "failed: the result cannot be printed: No space left on device\n"),
        ("shwo 2>/dev/full", 2, ""),
        ("--version >&- 2>&- <&-", 0, ""),
    ],
)
def test_streams_that_are_full_or_closed(words: str, code: int, told: str) -> None:
    done = subprocess.run(["sh", "-c", f"{shlex.quote(sys.executable)} -m jepakit {words}"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, told)


def test_an_interrupt_that_a_library_makes_another_error_of_exits_130(cli: Cli, verb_that: Callable[[BaseException], None]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it

    @app.command("bang")
    def bang() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("no tensordict is true") from None

    verb_that(RuntimeError("no tensordict is true"))
    code, out, err = cli("bang")
    assert (code, out) == (130, "")
    assert "tensordict" not in err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert cli("boom").code == 1


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

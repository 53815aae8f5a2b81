"""``jepakit watch`` in a terminal refreshes, scrolls and quits by a key or Ctrl-C; without one it prints a table and ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jepakit.storage.lock import Lock

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text('{"name": "mine", "seed": 3, "total_steps": 4000}')
    (folder / "events.jsonl").write_text("")
    write(folder, 1000)
    return folder


def write(folder: Path, steps: int) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"phase": "train", "env_steps": steps, "return_last_100": steps / 8}) + "\n")


def test_without_a_terminal_it_prints_one_table(cli: Cli, run: Path, tmp_path: Path) -> None:
    code, out, err = cli("watch")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "1 run  1 killed"
    assert "mine" in out
    assert "25%" in out
    assert cli("watch", str(run)).out.splitlines()[0] == "1 run  1 killed"
    (tmp_path / "empty").mkdir()
    assert cli("watch", "empty", "--once") == (0, "no runs in empty\n", "")
    assert cli("watch", "--every", "inf").code == 2
    assert cli("watch", "nowhere") == (2, "", "there is no folder nowhere\n")


@pytest.mark.parametrize("end", [b"q", b"\x03"])
def test_in_a_terminal_it_refreshes_and_quits_cleanly(run: Path, end: bytes) -> None:
    held = Lock(run)  # it is running: one that has ended is not looked at for seconds
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job of a shell ignores it
        os.environ.update(TERM="xterm", COLUMNS="100", LINES="30")
        os.execv(sys.executable, [sys.executable, "-m", "jepakit", "watch", str(run.parent), "--every", "0.1"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    seen = until(terminal, b"25%")
    write(run, 2000)
    seen += until(terminal, b"50%")
    os.write(terminal, b"j" + end)
    seen += rest(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert seen.rindex(b"\x1b[?1049l") > seen.rindex(b"\x1b[?1049h")  # the screen before is back
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")  # so is the cursor
    assert b"Traceback" not in seen
    assert b"50%" in seen[seen.rindex(b"\x1b[?1049l") :]  # the last table stays
    held.release()


def until(terminal: int, text: bytes) -> bytes:
    seen, end = b"", time.monotonic() + 60
    while text not in seen:
        assert time.monotonic() < end, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65536)
    return seen


def rest(terminal: int) -> bytes:
    seen, end = b"", time.monotonic() + 60
    try:
        while time.monotonic() < end:
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 65536)
    except OSError:  # the process has ended
        return seen
    pytest.fail("it does not end")

"""What cannot be written to a terminal or a log does not end a run."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from jepakit.files.streams import drop_unwritten, lossy, open_closed
from jepakit.training.progress import Plain


class Gone(io.StringIO):
    """A terminal that was closed."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_run_outlives_its_terminal() -> None:
    Plain("title", 8, lossy(Gone())).warn("something")
    here = io.StringIO()
    Plain("title", 8, lossy(here)).warn("something")
    assert here.getvalue() == "title\nwarning: something\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_what_is_left_is_dropped() -> None:
    with Path("/dev/full").open("w") as full:
        full.write("text")
        drop_unwritten(full)
        full.write("more")
        full.flush()


def test_a_closed_stream_takes_a_number_no_file_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    open_closed()
    sys.stderr.write("text\n")
    sys.stderr.flush()
    assert os.fstat(sys.stderr.fileno()).st_rdev == Path(os.devnull).stat().st_rdev
    sys.stderr.close()

"""What counts as a second request to stop: not what schedulers and parents send at once, nor the deaths of parents."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

import pytest

from jepakit.errors import signal_name
from jepakit.machine import interrupt
from jepakit.machine.interrupt import graceful_stop, noticed

SET, GET = 1, 2  # PR_SET_PDEATHSIG, PR_GET_PDEATHSIG


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
def test_the_death_of_a_second_parent_is_no_second_request() -> None:
    prctl, now = ctypes.CDLL(None).prctl, ctypes.c_int()
    prctl(SET, signal.SIGTERM)
    try:
        with graceful_stop(lambda text: None) as stop_requested:
            prctl(GET, ctypes.byref(now))
            assert now.value == signal.SIGTERM
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop_requested()
            prctl(GET, ctypes.byref(now))
            assert now.value == 0
    finally:
        prctl(SET, 0)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_is_a_request_except_under_nohup(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with graceful_stop(lambda text: None) as stop_requested:
            assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) == ignored
            if not ignored:
                os.kill(os.getpid(), signal.SIGHUP)
            assert stop_requested() != ignored
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_cleans_up_and_a_run_in_it_saves(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with noticed() as came:
            with graceful_stop(lambda text: None) as stop_requested:
                os.kill(os.getpid(), number)
                assert stop_requested()
            assert not came()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            assert came()
        assert signal.getsignal(number) is signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)
        with noticed():
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_signal_without_a_name_has_its_number() -> None:
    assert [signal_name(number) for number in (9, 40)] == ["SIGKILL", "signal 40"]


TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize(
    ("signals", "patience", "at_once"),
    [
        ([TERM, TERM], 30, False),  # a scheduler signals all of a job, and a parent passes it on
        ([TERM, INT], 30, False),
        ([INT, TERM], 30, False),
        ([INT, INT], 30, True),  # a keyboard
        ([TERM, INT, INT], 30, True),
        ([TERM, TERM], 0, True),
        ([INT, TERM], 0, True),
    ],
)
def test_the_second_request_stops_at_once(signals: list[int], patience: float, at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "PATIENCE", patience)
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt) if at_once else contextlib.nullcontext(), graceful_stop(told.append) as stop_requested:
        for number in signals:
            os.kill(os.getpid(), number)
            assert stop_requested()
    assert len(told) == 1

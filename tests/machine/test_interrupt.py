"""A run that was asked to stop is not asked again by the deaths of its parents."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import pytest

from jepakit.machine.interrupt import graceful_stop

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

"""Where processes share memory."""

from __future__ import annotations

from pathlib import Path

SHARED = Path("/dev/shm")  #: where Linux has what processes share
MORE_SHARED = "a container gets more with, for example, `docker run --shm-size=2g`"

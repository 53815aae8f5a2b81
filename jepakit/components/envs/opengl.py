"""Chooses the OpenGL that MuJoCo draws with: what the user asks for, or else the first that works on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

from jepakit.errors import UserError, shown

ASKED = "MUJOCO_GL"  #: the environment variable that MuJoCo and dm_control read when they are imported
BACKENDS = ("egl", "osmesa")  #: neither needs a screen; EGL draws on a GPU where there is one
#: Makes a context and prints who draws.
TRIAL = """
import mujoco
from mujoco import GLContext
context = GLContext(8, 8)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)
from OpenGL.GL import GL_RENDERER, glGetString
print(glGetString(GL_RENDERER).decode())
"""


@cache
def choose_opengl() -> dict[str, str]:
    """Sets ``MUJOCO_GL``, where the user has not; dm_control must not be imported before.

    Each backend is tried in a process of its own, since a broken driver can end the process that loads it.

    Returns:
        What draws: ``opengl``, the backend, and ``renderer``, the name that the driver gives itself.

    Raises:
        UserError: None of them draws.
    """
    asked = os.environ.get(ASKED)
    failures = []
    for backend in (asked,) if asked else BACKENDS:
        tried = _try(backend)
        if tried.returncode == 0:
            os.environ[ASKED] = backend
            return {"opengl": backend, "renderer": tried.stdout.strip().rpartition("\n")[2]}
        says = tried.stderr.strip().rpartition("\n")[2] or f"ended with exit code {tried.returncode}"
        failures.append(f"{ASKED}={backend}: {shown(says, 160)}")
    advice = f"unset {ASKED}, or install" if asked else "install"
    raise UserError(
        f"no OpenGL that draws without a screen ({'; '.join(failures)}); {advice} one, on Debian and Ubuntu by "
        "`apt-get install libegl1 libgl1-mesa-dri libosmesa6`"
    )


def _try(backend: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", TRIAL], env=os.environ | {ASKED: backend}, capture_output=True, text=True)

from collections.abc import Iterator

import pytest

from jepakit.components.envs import opengl
from jepakit.components.envs.opengl import choose_opengl
from jepakit.errors import UserError


@pytest.fixture(autouse=True)
def not_chosen_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("mujoco")
    monkeypatch.setenv("MUJOCO_GL", "")
    choose_opengl.cache_clear()
    yield
    choose_opengl.cache_clear()


def test_the_first_working_backend_is_chosen(opengl_here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opengl, "BACKENDS", ("nonsense", opengl_here))
    assert choose_opengl()["opengl"] == opengl_here
    assert opengl.os.environ["MUJOCO_GL"] == opengl_here
    assert choose_opengl()["renderer"]


def test_without_a_working_backend_one_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opengl, "BACKENDS", ("egl",))
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", "/nowhere")
    with pytest.raises(UserError, match=r"no OpenGL that draws .*MUJOCO_GL=egl: .*EGL.*; install one, .*apt-get install .*libosmesa6"):
        choose_opengl()


def test_only_the_requested_backend_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(UserError, match=r"\(MUJOCO_GL=nonsense: [^;]*nonsense.*\); unset MUJOCO_GL, or install one"):
        choose_opengl()


def test_a_crashing_driver_does_not_crash_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opengl, "BACKENDS", ("egl",))
    monkeypatch.setattr(opengl, "TRIAL", "import os; os.abort()")
    with pytest.raises(UserError, match="MUJOCO_GL=egl: ended with exit code -6"):
        choose_opengl()

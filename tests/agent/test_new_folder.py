"""A folder of results is complete or not there, wherever it lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jepakit.agent.new_folder import new_folder
from jepakit.errors import UserError


@pytest.mark.parametrize("there", ["nothing", "a folder", "a link"])
def test_a_new_folder_is_complete_or_not_there(tmp_path: Path, there: str) -> None:
    out, held = tmp_path / "out", tmp_path / "held"
    held.mkdir()
    if there == "a folder":
        out.mkdir()
    if there == "a link":  # as a mount point, it cannot be replaced
        out.symlink_to(held)
    with pytest.raises(FileNotFoundError, match="other"), new_folder(out) as folder:
        (folder / "half").write_text(str((folder / "other").read_text()))
    assert out.exists() == (there != "nothing")
    assert there == "nothing" or not any(out.iterdir())
    (held / ".content.0a1b2c3d.partial").mkdir()  # as one that was killed leaves it
    with new_folder(out) as folder:
        (folder / "whole").mkdir()
        (folder / "whole" / "file").write_text("x")
        assert folder.stat().st_dev == (held if there == "a link" else tmp_path).stat().st_dev
    assert (out / "whole" / "file").read_text() == "x"
    assert out.is_symlink() == (there == "a link")
    with pytest.raises(UserError, match="out is not empty: name a new folder"), new_folder(out):
        pass


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs another file system")
def test_a_new_folder_may_be_on_another_file_system(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    elsewhere = Path("/dev/shm") / f"jepakit-{os.getpid()}"
    elsewhere.mkdir()
    request.addfinalizer(lambda: [*map(Path.unlink, elsewhere.iterdir()), elsewhere.rmdir()])
    (tmp_path / "out").symlink_to(elsewhere)
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("x")
    assert [file.name for file in elsewhere.iterdir()] == ["file"]


def test_a_new_folder_that_cannot_be_made_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"can't write to .*file/out: Not a directory"), new_folder(tmp_path / "file" / "out"):
        pass

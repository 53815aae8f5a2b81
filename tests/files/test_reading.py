"""A file is read as a whole or not at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jepakit.files.reading import Unreadable, read_bytes, read_text, walk


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("é" * 5)
    assert read_bytes(file, 10) == b"\xc3\xa9" * 5
    assert read_text(file) == "é" * 5
    with pytest.raises(Unreadable, match="more than 9 bytes"):
        read_bytes(file, 9)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "a device or a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "a device or a pipe"),
        (Path.mkdir, "Is a directory"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (sparse, "more than"),
        (listening, "No such device"),
        (lambda path: path.symlink_to("/proc/self/mem"), "Input/output error"),
        (lambda path: None, "No such file"),
    ],
)
def test_unreadable_paths_fail_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], says: str) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    make(Path("odd"))
    with pytest.raises(Unreadable, match=says):
        read_bytes(Path("odd"), 1000)


def test_no_file_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(Unreadable):
            read_bytes(tmp_path, 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_without_a_size_is_limited_too() -> None:
    with pytest.raises(Unreadable, match="more than 3 bytes"):
        read_bytes(Path("/proc/self/status"), 3)


def test_a_folder_that_cannot_be_read_is_left_out_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open", "secret"):
        (tmp_path / name).mkdir()
    look = os.scandir

    def refused(path: Any) -> Any:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.warns(UserWarning, match="left out: can't read .*secret': Permission denied"):
        assert [folder.name for folder, _, _ in walk(tmp_path)][1:] == ["open"]

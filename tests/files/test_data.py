"""Digests of folders of data."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from jepakit.files import data
from jepakit.files.data import digest_of_data


def plain(folder: Path) -> str:
    """The digest, file by file."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(f"{path.relative_to(folder).as_posix()}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def test_files_are_read_once_until_one_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.txt", "b.txt", "z/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(data, "digest", counted)
    assert [digest_of_data(tmp_path) for _ in range(3)] == [plain(tmp_path)] * 3
    assert read == ["a.txt", "b.txt", "c.txt"]
    before = (tmp_path / "b.txt").stat()
    (tmp_path / "b.txt").write_text("B.txt")
    os.utime(tmp_path / "b.txt", ns=(before.st_atime_ns, before.st_mtime_ns))  # as some tools do that copy
    assert digest_of_data(tmp_path) == plain(tmp_path)
    (tmp_path / "b.txt").rename(tmp_path / "d.txt")
    assert digest_of_data(tmp_path) == plain(tmp_path)
    assert len(read) == 9

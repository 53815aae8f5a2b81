"""`jepakit reproduce two-rooms` from the command line: what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jepakit.components.shared.recordings import read_about
from jepakit.studies.two_rooms.study import record


def test_options_of_the_other_study_and_unknown_studies_are_refused(cli: Any, tmp_path: Path) -> None:
    for args, wrong in (
        (["two-rooms", "--no-recovery"], "belong to figure3"),
        (["three-rooms"], "'figure3', 'two-rooms'"),
        (["two-rooms", "--quick"], "can't write to"),
    ):
        (tmp_path / "file").touch()
        done = cli("reproduce", *args, "--out", str(tmp_path / "file" / "in" / "it"))
        assert done.code == 2
        assert wrong in done.err


def test_the_data_are_recorded_once_and_a_quick_study_has_its_own(tmp_path: Path) -> None:
    told: list[str] = []
    folder = record(tmp_path, True, told.append)
    assert folder == record(tmp_path, True, told.append)
    assert told == ["recording 2,000 steps of random play"]
    assert folder.name != "data"
    assert read_about(folder).steps == 2_000

"""Runs to draw are there once each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jepakit.report.curves.recorded import load_recorded
from jepakit.report.record import write_record
from jepakit.report.runs import load_runs


def test_a_run_named_as_a_folder_and_as_its_record_is_drawn_once(make_folder: Any, tmp_path: Path) -> None:
    folder = make_folder()
    (run,) = load_runs([folder])
    record = write_record(run, tmp_path / "kept")
    assert [found.path for found in load_recorded([record, folder])] == [folder]
    assert [found.path for found in load_recorded([record])] == [record]

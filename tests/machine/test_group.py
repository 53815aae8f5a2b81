"""What the environment says about the ranks of a run."""

from __future__ import annotations

import pytest

from jepakit.cli.app import main
from jepakit.errors import UserError
from jepakit.machine.group import joined

VARIABLES = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WORLD_SIZE", "two", "WORLD_SIZE=two: a whole number was expected"),
        ("RANK", "-1", "RANK=-1: a whole number was expected"),
        ("LOCAL_RANK", "", "LOCAL_RANK=: a whole number was expected"),
        ("MASTER_PORT", "http", "MASTER_PORT=http: a whole number was expected"),
        ("RANK", "2", "RANK=2: there are WORLD_SIZE=2 ranks, numbered from 0"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each, given in {**VARIABLES, name: value}.items():
        monkeypatch.setenv(each, given)
    with pytest.raises(UserError, match=told), joined():
        pass


def test_a_world_size_alone_is_nobodys_business(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")  # which `main` would set for all later tests
    monkeypatch.setattr("sys.argv", ["jepakit", "--version"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("jepakit ")

"""Which configurations are compared with each other, and which are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jepakit.report.comparison import compare_pairs, notes, summarise
from jepakit.report.labels import group

if TYPE_CHECKING:
    from tests.report.conftest import MakeRun

OTHER = {"env.id": "Pendulum-v1"}
GAMES = [{"env": {"kind": "atari", "game": game}} for game in ("Pong", "Breakout")]
TASKS = [{"env": {"kind": "dmc", "domain": "cartpole", "task": task}} for task in ("swingup", "balance")]


def test_returns_of_different_envs_are_not_compared(make_run: MakeRun) -> None:
    configurations = group([make_run(), make_run({"encoder.dim": 32}), make_run(OTHER, returns=(-9.0, -5.0))])
    assert [{pair.better, pair.worse} for pair in compare_pairs(configurations)] == [
        {c.label for c in configurations if "Pendulum" not in c.label}
    ]
    assert any(
        "differ in their env (" in note and ": Pendulum-v1" in note and ": CartPole-v1" in note for note in notes(summarise(configurations))
    )


def test_a_single_env_gets_no_note_about_envs(make_run: MakeRun) -> None:
    rows = summarise(group([make_run(OTHER), make_run(OTHER | {"env.size": [8, 8]})]))
    assert not any("different envs" in note for note in notes(rows))


def test_envs_without_an_id_are_named_by_their_kind(make_run: MakeRun) -> None:
    rows = summarise(group([make_run({"env": {"kind": "mine"}}), make_run({"env": ...})]))
    assert sorted(row.env for row in rows) == ["mine", "none"]


@pytest.mark.parametrize(("envs", "named"), [(GAMES, ("Pong", "Breakout")), (TASKS, ("cartpole-swingup", "cartpole-balance"))])
def test_games_and_tasks_are_different_envs(make_run: MakeRun, envs: list[dict[str, Any]], named: tuple[str, str]) -> None:
    configurations = group([make_run(env) for env in envs])
    assert not compare_pairs(configurations)
    assert {row.env for row in summarise(configurations)} == {*named}
    assert any("differ in their env (" in note for note in notes(summarise(configurations)))


def test_held_out_returns_of_different_numbers_of_episodes_get_a_note(make_run: MakeRun) -> None:
    few, many = make_run(held_out=400.0, episodes=5), make_run(seed=1, held_out=410.0, episodes=50)
    (note,) = (note for note in notes(summarise(group([few, many]))) if note.startswith("Held-out returns"))
    assert "5 or 50" in note
    assert not any(note.startswith("Held-out returns") for note in notes(summarise(group([few, make_run(seed=1)]))))

from __future__ import annotations

import pytest

from jepakit.components.envs.atari.ale import rom_of
from jepakit.components.envs.atari.scores import REFERENCE_SCORES

#: Kaiser et al. 2020.
ATARI_100K = """
    Alien Amidar Assault Asterix BankHeist BattleZone Boxing Breakout ChopperCommand CrazyClimber DemonAttack Freeway Frostbite
    Gopher Hero Jamesbond Kangaroo Krull KungFuMaster MsPacman Pong PrivateEye Qbert RoadRunner Seaquest UpNDown
"""


def test_every_atari_100k_game_has_reference_scores() -> None:
    games = ATARI_100K.split()
    assert len(games) == 26
    assert set(games) <= set(REFERENCE_SCORES)
    assert all(scores.random < scores.human for scores in REFERENCE_SCORES.values())


def test_every_scored_game_exists_in_the_ale() -> None:
    pytest.importorskip("ale_py", reason="the extra `atari` is not installed")
    for game in REFERENCE_SCORES:
        rom_of(game)

"""Who competes with whom, at what work. Contestants run in turn, A B C A B C …, each in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from benchmarks.peers.ours import measure
from benchmarks.peers.settings import Settings

Contestant = Callable[[Settings], dict[str, Any]]


def peer(module: str, settings: Settings, drawing: str = "jepakit") -> dict[str, Any]:
    """Figures of a peer, in its own process."""
    words = replace(settings, drawing=drawing).words()
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.peers.{module}", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


@dataclass(frozen=True)
class Contest:
    """One work, and who does it; the first contestant is jepakit, and the others' speeds are set against its own."""

    title: str
    settings: Settings
    contestants: Mapping[str, Contestant]


SB3_PPO = "Stable-Baselines3 PPO"
PPO_PEERS: dict[str, Contestant] = {
    SB3_PPO: partial(peer, "sb3_ppo"),
    f"{SB3_PPO}, Gymnasium's own canvas": partial(peer, "sb3_ppo", drawing="gymnasium"),
    "TorchRL PPO": partial(peer, "torchrl_ppo"),
    "CleanRL-style PPO": partial(peer, "cleanrl_ppo"),
}
ONE_BLOCK = "encoder.depth=1"  #: as in `cartpole_fast`
PATCH_84 = "encoder.patch=28"  #: 3×3 patches; the main recipe's 20 does not divide 84

CONTESTS = {
    "ppo_40x60": Contest(
        "PPO, frames of 40×60",
        Settings(),
        {
            "jepakit": partial(measure, recipe="cartpole_pixels"),
            "jepakit, one transformer block": partial(measure, recipe="cartpole_pixels", overrides=[ONE_BLOCK]),
            **PPO_PEERS,
        },
    ),
    "ppo_84x84": Contest(
        "PPO, frames of 84×84",
        Settings(height=84, width=84),
        {"jepakit": partial(measure, recipe="cartpole_pixels", overrides=[PATCH_84]), **PPO_PEERS},
    ),
    "ppo_sb3_defaults": Contest(
        "PPO at Stable-Baselines3's defaults",
        Settings(envs=1, steps=2048, epochs=10),
        {"jepakit": partial(measure, recipe="cartpole_pixels"), SB3_PPO: PPO_PEERS[SB3_PPO]},
    ),
    "dqn_40x60": Contest(
        "DQN, frames of 40×60",
        Settings(steps=25),
        {"jepakit": partial(measure, recipe="cartpole_dqn"), "Stable-Baselines3 DQN": partial(peer, "sb3_dqn")},
    ),
}


def in_turn(contest: Contest, rounds: int, tell: Callable[[str], object], **settings: Any) -> dict[str, Any]:
    """Every contestant's figures in every round; ``settings`` replace those of the contest."""
    work = replace(contest.settings, **settings)
    played: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        played.append({})
        for name, contestant in contest.contestants.items():
            played[-1][name] = contestant(work)
            tell(f"{contest.title}, round {number}: {name}: {played[-1][name]['steps_per_second']:.0f} env steps/s")
    return {"title": contest.title, "settings": asdict(work), "rounds": played}


def play(names: Iterable[str], rounds: int, tell: Callable[[str], object], **settings: Any) -> dict[str, Any]:
    """The contests of these names, one after another."""
    return {name: in_turn(CONTESTS[name], rounds, tell, **settings) for name in names}

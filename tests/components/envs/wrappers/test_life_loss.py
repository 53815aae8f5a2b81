"""A lost life ends an episode for learning, but a game counts as one: in wrapper, tape, batched env, records and evaluation."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from jepakit.agent.evaluate import evaluate
from jepakit.components.envs.gym import GymEnv
from jepakit.components.envs.tape import Tape, restores_exactly
from jepakit.components.envs.wrappers.by_path import Wrapping
from jepakit.components.envs.wrappers.clipped_reward import ClippedReward
from jepakit.components.envs.wrappers.fire_reset import FireReset
from jepakit.components.envs.wrappers.life_loss import LifeLoss
from jepakit.training.run import run

TOY = '''
from typing import Any
import gymnasium
import numpy as np
from gymnasium import spaces


class Lives(gymnasium.Env[Any, Any]):
    """Pays 7 a step, in which a life of three is lost by chance; draws step and lives."""

    metadata = {"render_modes": ["rgb_array"]}
    action_space = spaces.Discrete(2)
    observation_space = spaces.Discrete(1000)
    render_mode = "rgb_array"

    def __init__(self, render_mode: Any = None) -> None:
        pass

    def lives(self) -> int:
        return self.left

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.left, self.t = 3, 0
        return 0, {}

    def step(self, action: Any) -> Any:
        self.t += 1
        self.left = max(0, self.left - int(self.np_random.random() < 0.2))
        return self.t, 7.0, self.left == 0, False, {}

    def render(self) -> Any:
        image = np.zeros((8, 8, 3), dtype=np.uint8)
        image[0], image[1] = self.left, self.t % 200
        return image


gymnasium.register("Lives-v0", Lives)
'''
WRAPPERS = [f"jepakit.components.envs.wrappers.{path}" for path in ("life_loss:LifeLoss", "clipped_reward:ClippedReward")]
exec(TOY.rpartition("gymnasium.register")[0], names := dict[str, Any]())
Lives = names["Lives"]


def play(simulator: gymnasium.Env[Any, Any], steps: int) -> list[Any]:
    seen: list[Any] = [simulator.reset(seed=3)]
    for _ in range(steps):
        seen.append(simulator.step(0))
        if seen[-1][2]:
            seen.append(simulator.reset())
    return seen


def test_a_game_continues_after_a_lost_life() -> None:
    """The games are the same as without the wrapper, which only reports more ends."""
    steps = [step for step in play(LifeLoss(Lives()), 300) if len(step) == 5]
    plain = [step for step in play(Lives(), 300) if len(step) == 5]
    assert [step[:2] for step in steps] == [step[:2] for step in plain]
    over = [step[2] and step[4].get("episode_over", True) for step in steps]
    assert over == [step[2] for step in plain]
    assert sum(step[2] for step in steps) in range(3 * sum(over), 3 * sum(over) + 3)


def test_only_the_reset_after_a_lost_life_continues_the_game() -> None:
    simulator = LifeLoss(Lives())
    simulator.reset(seed=0)

    def lose() -> None:
        while not simulator.step(0)[2]:
            pass

    lose()
    assert simulator.reset() == (simulator.unwrapped.t, {"episode_over": False})
    assert simulator.reset() == (0, {}), "a second reset, in the middle of a life, begins a new game"
    lose()
    assert simulator.reset(seed=1) == (0, {}), "a reset with a seed begins a new game"


def test_losing_the_last_life_ends_only_one_episode() -> None:
    """Some games show zero lives for some frames before they end. Those frames are no episode of their own."""

    class Lingers(Lives):
        def step(self, action: Any) -> Any:
            if self.left == 0:
                return self.t, 0.0, True, False, {}
            observation, reward, _, _, info = super().step(action)
            return observation, reward, False, False, info

    steps = [step for step in play(LifeLoss(Lingers()), 300) if len(step) == 5]
    over = [step[2] and step[4].get("episode_over", True) for step in steps]
    assert sum(over) > 5
    assert sum(step[2] for step in steps) in range(3 * sum(over), 3 * sum(over) + 3)


def made(fires: bool = False) -> gymnasium.Env[Any, Any]:
    simulator: Any = LifeLoss(Lives())
    return ClippedReward(FireReset(simulator, 1) if fires else simulator)


@pytest.mark.parametrize("fires", [False, True])
def test_a_tape_restores_a_game_with_lost_lives(fires: bool) -> None:
    make = partial(made, fires)
    assert restores_exactly(make(), make())
    original, restored = Tape(make()), Tape(make())
    play(original, 40)
    assert None in original.actions or original.unwrapped.left == 3
    restored.reset(seed=9)
    restored.restore(json.loads(json.dumps(original.snapshot())))
    assert (restored.unwrapped.t, restored.unwrapped.left) == (original.unwrapped.t, original.unwrapped.left)


@pytest.fixture
def registered() -> Any:
    gymnasium.register("Lives-v0", Lives)
    yield
    del gymnasium.registry["Lives-v0"]


def test_the_batched_env_counts_games_and_reports_both_returns(registered: None) -> None:
    wrappers = [Wrapping(path=path) for path in WRAPPERS]
    env = GymEnv(0, id="Lives-v0", num_envs=3, frames=2, size=None, wrappers=wrappers)
    steps = env.rollout(120, break_when_any_done=False)
    after = steps["next"]
    length, over, done = (after[key].squeeze(-1) for key in ("episode_length", "episode_over", "done"))
    expected = torch.zeros(3)
    for t in range(120):
        expected += 1
        assert torch.equal(length[:, t].float(), expected)
        assert torch.equal(after["episode_return"][:, t, 0], 7 * expected)
        assert torch.equal(after["learned_return"][:, t, 0], expected)
        expected = torch.where(over[:, t], 0, expected)
    assert (after["reward"] == 1).all()
    lives = after["pixels"][:, :, -1, 0, 0, 0]
    assert torch.equal(over, lives == 0)
    assert (done & ~over).any()
    for n, t in (done & ~over)[:, :-1].nonzero().tolist():
        begun = steps["pixels"][n, t + 1]
        assert torch.equal(begun[0], begun[1]), "the stack is refilled"
        assert torch.equal(begun[1], after["pixels"][n, t, -1]), "with the current frame"


def test_records_and_evaluation_count_games(tmp_path: Path) -> None:
    (tmp_path / "lives.py").write_text(TOY)
    wrappers = ", ".join(f"{{path: '{path}'}}" for path in WRAPPERS)
    (tmp_path / "r.yaml").write_text(
        f"plugins: [lives.py]\nenv: {{kind: gym, id: Lives-v0, num_envs: 2, size: null, wrappers: [{wrappers}]}}\n"
        "encoder: {kind: impala, dim: 8}\nalgorithm: {kind: ppo, rollout_steps: 100, minibatch_size: 100, epochs: 1}\n"
        "total_steps: 200\nthreads: 1\n"
    )
    result = run(tmp_path / "r.yaml", out=tmp_path / "run", quiet=True)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    episodes = [record for record in records if record["phase"] == "episode"]
    assert episodes
    assert all(record["episode_return"] == 7 * record["episode_length"] for record in episodes)
    assert all(record["learned_return"] == record["episode_length"] for record in episodes)
    assert sum(record["episode_length"] for record in episodes) <= 200, "a game is one record, whatever its number of lives"
    assert "frames" not in result.summary
    played = evaluate(tmp_path / "run", episodes=4, seed=5, trust=True)["greedy"]
    assert played["returns"] == [7 * length for length in played["lengths"]]
    expected = []
    for seed in np.random.SeedSequence(5).generate_state(2).tolist():  # the seeds of the two simulators
        game = Lives()
        for first in (True, False):
            game.reset(seed=seed if first else None)
            while not game.step(0)[2]:
                pass
            expected.append(game.t)
    assert played["lengths"] == expected

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import jepakit.components.envs.atari.ale
import jepakit.components.envs.atari.env
from jepakit import registry
from jepakit.agent.evaluate import evaluate
from jepakit.components.envs.atari.ale import Game
from jepakit.components.envs.atari.env import AtariEnv
from jepakit.components.envs.tape import Tape
from jepakit.components.shared.frames import to_frame
from jepakit.errors import UserError
from jepakit.training.run import run


@pytest.fixture(scope="module")
def ale() -> Any:
    return pytest.importorskip("ale_py", reason="the extra `atari` is not installed")


def test_is_registered_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)  # importing it fails now
    for module in (jepakit.components.envs.atari.ale, jepakit.components.envs.atari.env):
        importlib.reload(module)
    assert registry.component("env", "atari").cls.requires == {"ale_py": "pip install 'jepakit[atari]'"}


class Reference:
    """The Atari protocol as one plain loop on the ALE: what all wrappers together must produce."""

    def __init__(self, ale: Any, env: AtariEnv, rom: str) -> None:
        self.console, self.tape = ale.ALEInterface(), env.simulators[0]
        self.console.setFloat("repeat_action_probability", 0.0)
        self.rom, self.actions = ale.roms.get_rom_path(rom), None

    def begin(self, seed: int | None) -> None:
        if seed is not None:
            self.draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))  # Gymnasium's np_random
            self.console.setInt("random_seed", int(self.draws.integers(2**31)))
            self.console.loadROM(self.rom)
        self.actions = self.console.getMinimalActionSet()
        self.console.reset_game()
        for _ in range(self.draws.integers(1, 31)):
            self.console.act(self.actions[0])

    def fire(self) -> None:
        self.act(1)

    def act(self, action: int) -> tuple[float, bool]:
        """The summed reward, and whether a life was lost before the end. Stores the frame in `self.frame`."""
        before, total, screens = self.console.lives(), 0.0, []
        for _ in range(4):
            total += self.console.act(self.actions[action])
            screens.append(self.console.getScreenGrayscale())
            if self.console.game_over():
                break
        self.frame = to_frame(np.maximum(*screens[-2:]) if len(screens) == 4 else screens[-1], (84, 84), True)
        return total, 0 < self.console.lives() < before


def test_the_wrapped_env_matches_the_reference_protocol(ale: Any) -> None:
    env = AtariEnv(5, game="Breakout", num_envs=1)
    env.set_seed(11)
    reference = Reference(ale, env, "breakout")
    reference.begin(int(np.random.SeedSequence(11).generate_state(1)[0]))
    reference.fire()
    now = env.reset()
    assert torch.equal(now["pixels"][0], reference.frame.expand(4, 1, 84, 84))
    score, steps, lives, games = 0.0, 0, 0, 0
    draws = torch.Generator().manual_seed(4)
    while games < 2:
        action = torch.randint(4, (1,), generator=draws)
        step, now = env.step_and_maybe_reset(now.set("action", action))
        reward, lost = reference.act(int(action))
        score, steps = score + reward, steps + 1
        after, over = step["next"], reference.console.game_over()
        assert after["reward"].item() == np.sign(reward)
        assert torch.equal(after["pixels"][0, -1], reference.frame)
        assert (after["episode_return"].item(), after["episode_length"].item()) == (score, steps)
        assert (after["terminated"].item(), after["episode_over"].item()) == (over or lost, over)
        if over:
            reference.begin(None)
            score, steps, games = 0.0, 0, games + 1
        if over or lost:
            lives += lost
            reference.fire()
            assert torch.equal(now["pixels"][0], reference.frame.expand(4, 1, 84, 84))
    assert lives == 8, "each of the two games loses four of its five lives before it ends"


@pytest.mark.parametrize(
    ("game", "fields"), [("Breakout", {"sticky_actions": 0.25}), ("Freeway", {"grayscale": False, "life_loss": False})]
)
def test_a_restored_game_continues_exactly_without_replaying_actions(ale: Any, game: str, fields: dict[str, Any]) -> None:
    env = AtariEnv(0, game=game, num_envs=1, **fields)
    assert env.restores_exactly()
    original, restored = Tape(env.make()), Tape(env.make())
    original.reset(seed=1)
    restored.reset(seed=2)
    for _ in range(150):  # lives are lost on the way
        if original.step(0)[2]:
            original.reset()
    snapshot = json.loads(json.dumps(original.snapshot()))
    assert not snapshot["actions"]
    restored.restore(snapshot)
    for number in range(60):
        (seen, *rest, _), (theirs, *their_rest, _) = original.step(number % 3), restored.step(number % 3)
        assert np.array_equal(seen, theirs)
        assert rest == their_rest
        assert np.array_equal(original.render(), restored.render())
        if rest[1] or rest[2]:
            assert np.array_equal(original.reset()[0], restored.reset()[0])


def test_sticky_actions_repeat_the_last_action_and_are_restored(ale: Any) -> None:
    """The ALE's own state lacks the action that a sticky frame repeats."""
    fields: dict[str, Any] = {"grayscale": True, "full_action_set": True, "max_frames": 100_000}
    one, other, plain = (Game("Pong", sticky_actions=share, **fields) for share in (0.25, 0.25, 0.0))
    one.reset(seed=1)
    plain.reset(seed=1)
    draws, repeated, before = np.random.default_rng(0), 0, 0
    for _ in range(1_000):
        action = int(draws.integers(18))
        assert np.array_equal(one.step(action)[0], plain.step(one.last)[0])
        assert one.last in (action, before)
        repeated += one.last != action
        before = one.last
    assert 0.2 < repeated / 1_000 < 0.27  # 0.25 · 17/18
    for _ in range(30):
        one.step(draws.integers(18))
        other.reset(seed=2)
        other.load_state(one.save_state())
        actions = draws.integers(18, size=6)
        assert all(np.array_equal(one.step(action)[0], other.step(action)[0]) for action in actions)


def test_a_game_is_truncated_at_its_frame_limit(ale: Any) -> None:
    env = AtariEnv(0, game="Pong", num_envs=1, max_frames=100, noop_starts=1, fire_reset=False)
    after = env.rollout(40)["next"]
    assert after["truncated"].flatten().nonzero().flatten().tolist() == [24]  # 1 + 25 · 4 frames
    assert after["episode_over"][-1, -1]
    assert not after["terminated"].any()
    assert env.frames_per_step == 4


@pytest.mark.parametrize(("full", "number"), [(False, 6), (True, 18)])
def test_the_action_set_is_minimal_or_full(ale: Any, full: bool, number: int) -> None:
    env = AtariEnv(0, game="Pong", num_envs=1, full_action_set=full)
    assert env.single_action_spec.n == number
    assert env.simulators[0].unwrapped.action("NOOP") == 0


def test_a_run_counts_frames_and_its_evaluation_is_human_normalised(ale: Any, tmp_path: Path) -> None:
    small = {"env.num_envs": 1, "env.max_frames": 200, "env.size": [16, 16], "total_steps": 50, "threads": 1, "replay.capacity": 200}
    result = run("atari/jepa_dqn", overrides=small, out=tmp_path / "run", quiet=True)
    assert (result.summary["env_steps"], result.summary["frames"]) == (50, 200)
    played = evaluate(tmp_path / "run", episodes=2)["greedy"]
    assert played["human_normalized"] == pytest.approx((played["mean"] + 20.7) / (14.6 + 20.7))  # random and human scores


def test_an_unknown_game_gets_a_suggestion(ale: Any) -> None:
    with pytest.raises(UserError, match="the ALE has no game `MsPackman`; did you mean `MsPacman`"):
        AtariEnv(0, game="MsPackman")

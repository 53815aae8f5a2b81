from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from tensordict import TensorDict, TensorDictBase
from torchrl.collectors import Collector
from torchrl.envs.utils import check_env_specs

from jepakit.components.envs.gym import GymEnv
from jepakit.components.envs.gym_state import GymStateEnv
from jepakit.errors import UserError
from jepakit.protocols import FrameShape


class Grid(gymnasium.Env[Any, Any]):
    """Cannot render. Observes a 2 x 3 matrix of integers, always the same array: row 0 identifies the episode, row 1 the step."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(0, 300, (2, 3), dtype=np.int64)

    def __init__(self) -> None:
        self.observed = np.zeros((2, 3), dtype=np.int64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observed[0], self.observed[1] = self.np_random.integers(1, 250, 3), 0
        return self.observed, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.observed[1] += 1
        return self.observed, 1.0, bool(self.observed[1, 0] == 4), False, {}

    def render(self) -> Any:
        raise AssertionError("was asked to draw")


@pytest.fixture(autouse=True)
def grid() -> Iterator[None]:
    gymnasium.register("Grid-v0", Grid)
    yield
    del gymnasium.registry["Grid-v0"]


def collect(env: GymStateEnv | GymEnv, steps: int, seed: int = 0) -> TensorDictBase:
    torch.manual_seed(seed)
    frames = env.numel() * steps
    collector = Collector(env, None, frames_per_batch=frames, total_frames=frames)
    (batch,) = collector
    collector.shutdown(close_env=False)
    return batch


@pytest.mark.parametrize(
    ("id", "limit", "num_envs", "frames", "size"),
    [("CartPole-v1", None, 3, 3, 4), ("CartPole-v1", 7, 1, 1, 4), ("Pendulum-v1", 9, 2, 2, 3), ("Grid-v0", None, 2, 3, 6)],
)
def test_pixels_hold_the_states_of_plain_gymnasium(id: str, limit: int | None, num_envs: int, frames: int, size: int) -> None:
    env = GymStateEnv(7, id=id, num_envs=num_envs, frames=frames, max_episode_steps=limit)
    assert env.frame_shape == FrameShape(frames, 1, 1, size)
    batch = collect(env, 48)
    assert batch["pixels"].dtype == torch.float32
    ends = 0
    for n, seed in enumerate(np.random.SeedSequence(7).generate_state(num_envs).tolist()):
        simulator = gymnasium.make(id, max_episode_steps=limit, disable_env_checker=True)

        def numbers(observation: Any) -> list[float]:
            return [float(np.float32(number)) for number in np.ravel(observation)]

        states = [numbers(simulator.reset(seed=seed)[0])] * frames
        for step in batch[n]:
            assert step["pixels"].shape == (frames, 1, 1, size)
            assert step["pixels"].flatten(1).tolist() == states[-frames:]
            observation, reward, terminated, truncated, _ = simulator.step(step["action"].numpy())
            states.append(numbers(observation))
            assert step["next", "pixels"].flatten(1).tolist() == states[-frames:]
            assert step["next", "reward"].item() == pytest.approx(reward)
            assert step["next", "terminated"].item() == terminated
            assert step["next", "truncated"].item() == truncated
            if terminated or truncated:
                states = [numbers(simulator.reset()[0])] * frames
                ends += 1
    assert ends >= 2 * num_envs


def test_its_episodes_match_those_of_the_pixel_env() -> None:
    state, pixels = GymStateEnv(3, id="CartPole-v1", num_envs=2), GymEnv(3, id="CartPole-v1", num_envs=2, size=(20, 30))
    a, b = collect(state, 60), collect(pixels, 60)
    assert a["next", "done"].sum() > 2
    for key in ("action", "episode_return", "episode_length", ("next", "reward"), ("next", "terminated"), ("next", "episode_return")):
        assert torch.equal(a[key], b[key]), key


@pytest.mark.parametrize("id", ["CartPole-v1", "Pendulum-v1", "Grid-v0"])
def test_passes_torchrls_env_check(id: str) -> None:
    check_env_specs(GymStateEnv(0, id=id, num_envs=2))


def test_nothing_is_rendered() -> None:
    env = GymStateEnv(0, id="CartPole-v1", num_envs=1)
    env.rollout(3)
    assert env.simulators[0].render_mode is None
    assert env.simulators[0].unwrapped.screen is None


def test_earlier_steps_never_change() -> None:
    env = GymStateEnv(0, id="Grid-v0", num_envs=2, frames=2)
    now, steps = env.reset(), []
    for _ in range(12):
        step, now = env.step_and_maybe_reset(now.set("action", torch.zeros(2, dtype=torch.int64)))
        steps.append((step, step.clone()))
    assert all((step == copy).all() for step, copy in steps)


def test_a_partial_reset_leaves_the_other_envs_unchanged() -> None:
    env = GymStateEnv(0, id="Grid-v0", num_envs=2, frames=2)
    env.reset()
    now = env.step(TensorDict({"action": torch.zeros(2, dtype=torch.int64)}, [2]))["next"]
    after = env.reset(now.clone().set("_reset", torch.tensor([[False], [True]])))
    assert torch.equal(after["pixels"][0], now["pixels"][0])
    assert after["pixels"][1, :, 0, 0, 3:].tolist() == [[0.0] * 3] * 2
    assert after["episode_length"].flatten().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("id", "reason"),
    [
        ("FrozenLake-v1", r"id FrozenLake-v1: its observations are Discrete\(16\); a state vector is made of Box observations only"),
        ("CartPol-v1", "Registered ids like it: `CartPole-v1`"),
        ("no_such_module_here:Env-v0", "the module `no_such_module_here` is not installed"),
    ],
)
def test_a_mistake_is_named(id: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        GymStateEnv(0, id=id)

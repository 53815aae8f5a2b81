import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.collectors import Collector
from torchrl.data import Bounded, Categorical
from torchrl.envs.utils import check_env_specs

from jepakit.components.envs.batched import EnvFailed
from jepakit.components.envs.gym import GymEnv
from jepakit.components.shared.frames import to_frame
from jepakit.protocols import FrameShape
from tests.components.envs.failing import Dark, Fails, Odd

IDS = ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCar-v0"]
SMALL: dict[str, Any] = {"size": (20, 30), "num_envs": 2}


def collect(env: GymEnv, steps: int, policy: Callable[[TensorDictBase], TensorDictBase] | None = None) -> TensorDictBase:
    """A batch [N, T] from TorchRL's collector: ``steps`` batched steps, with random actions unless a policy is given."""
    torch.manual_seed(0)
    frames = env.numel() * steps
    collector = Collector(env, policy, frames_per_batch=frames, total_frames=frames)
    (batch,) = collector
    collector.shutdown(close_env=False)
    return batch


def slow_reference(env: GymEnv, seed: int, actions: torch.Tensor, limit: int | None) -> list[list[dict[str, Any]]]:
    """The same episodes in plain Gymnasium, frame by frame: [N][T]."""
    runs = []
    for n, simulator_seed in enumerate(np.random.SeedSequence(seed).generate_state(env.numel()).tolist()):
        simulator = gymnasium.make(env.id, render_mode="rgb_array", max_episode_steps=limit)

        def look(simulator: gymnasium.Env = simulator) -> torch.Tensor:
            return to_frame(simulator.render(), env.size, env.grayscale)

        simulator.reset(seed=simulator_seed)
        seen, total, length, run = [look()] * env.frame_shape.frames, 0.0, 0, []
        for action in actions[n].numpy():
            before = torch.stack(seen[-env.frame_shape.frames :])
            _, reward, terminated, truncated, _ = simulator.step(action)
            seen, total, length = [*seen, look()], total + reward, length + 1
            after = torch.stack(seen[-env.frame_shape.frames :])
            run.append(
                {
                    "pixels": before,
                    "next": after,
                    "reward": reward,
                    "return": total,
                    "length": length,
                    "terminated": terminated,
                    "truncated": truncated,
                }
            )
            if terminated or truncated:
                simulator.reset()
                seen, total, length = [look()] * env.frame_shape.frames, 0.0, 0
        runs.append(run)
    return runs


@pytest.mark.parametrize(
    ("id", "limit", "num_envs", "frames", "size", "grayscale"),
    [
        ("CartPole-v1", None, 3, 3, (20, 30), True),
        ("CartPole-v1", 15, 1, 1, None, False),
        ("Acrobot-v1", 9, 2, 4, (16, 16), False),
        ("Pendulum-v1", 9, 2, 2, (16, 16), True),
        ("MountainCar-v0", 9, 2, 3, (20, 30), True),
        ("Toy-v0", 4, 2, 3, (6, 10), True),
    ],
)
def test_episodes_match_plain_gymnasium(
    id: str, limit: int | None, num_envs: int, frames: int, size: tuple[int, int] | None, grayscale: bool
) -> None:
    seed, steps = 7, 64 if id == "CartPole-v1" else 24
    env = GymEnv(seed, id=id, num_envs=num_envs, frames=frames, size=size, grayscale=grayscale, max_episode_steps=limit)
    batch = collect(env, steps)
    actions = batch["action"] + (5 if id == "Toy-v0" else 0)  # its Discrete space starts there
    ends = 0
    for n, run in enumerate(slow_reference(env, seed, actions, limit)):
        for t, expected in enumerate(run):
            step = batch[n, t]
            assert torch.equal(step["pixels"], expected["pixels"])
            assert torch.equal(step["next", "pixels"], expected["next"])
            assert step["next", "reward"].item() == pytest.approx(expected["reward"], abs=1e-6)
            assert step["next", "episode_return"].item() == pytest.approx(expected["return"], abs=1e-4)
            assert step["next", "episode_length"].item() == expected["length"]
            assert step["next", "terminated"].item() == expected["terminated"]
            assert step["next", "truncated"].item() == expected["truncated"]
            assert step["next", "done"].item() == (expected["terminated"] or expected["truncated"])
            ends += step["next", "done"].item()
    assert ends >= 2 * num_envs


def test_an_episode_can_terminate_and_be_truncated_at_once() -> None:
    batch = collect(GymEnv(0, id="Toy-v0", num_envs=1, size=None, max_episode_steps=4), 4)
    assert batch["next", "terminated"].flatten().tolist() == [False, False, False, True]
    assert batch["next", "truncated"].flatten().tolist() == [False, False, False, True]


def test_the_final_stack_is_kept_and_the_next_episode_repeats_its_first_frame() -> None:
    batch = collect(GymEnv(0, id="Toy-v0", num_envs=2, frames=3, size=None), 10)
    shades = batch["pixels"][..., 0, 0, 0].int()
    finals = batch["next", "pixels"][..., 0, 0, 0].int()
    for n in range(2):
        first = shades[n, 0, 0].item()
        assert shades[n, :4].tolist() == [
            [first] * 3,
            [first, first, first + 1],
            [first, first + 1, first + 2],
            [first + i for i in (1, 2, 3)],
        ]
        assert finals[n, 3].tolist() == [first + i for i in (2, 3, 4)]
        assert (shades[n, 4] == shades[n, 4, 0]).all()


@pytest.mark.parametrize("id", IDS)
def test_passes_torchrls_env_check(id: str) -> None:
    check_env_specs(GymEnv(0, id=id, **SMALL))


@pytest.mark.parametrize(("id", "limit"), [("CartPole-v1", 500), ("Pendulum-v1", 200)])
def test_gymnasiums_time_limit_applies_by_default(id: str, limit: int) -> None:
    spec = GymEnv(0, id=id, **SMALL).simulators[0].spec
    assert spec is not None
    assert spec.max_episode_steps == limit


def test_a_partial_reset_changes_only_the_named_envs() -> None:
    env = GymEnv(0, id="CartPole-v1", num_envs=3, frames=2, size=(20, 30))
    now = env.rollout(4)[:, -1]["next"]
    states = [simulator.unwrapped.state.copy() for simulator in env.simulators]
    now["_reset"] = torch.tensor([[False], [True], [False]])
    before = now.clone()
    after = env.reset(now)
    for n in (0, 2):
        assert np.array_equal(env.simulators[n].unwrapped.state, states[n])
        for key in ("pixels", "episode_return", "episode_length"):
            assert torch.equal(after[key][n], before[key][n])
    assert not np.array_equal(env.simulators[1].unwrapped.state, states[1])
    assert torch.equal(after["pixels"][1, 0], after["pixels"][1, 1])
    assert not torch.equal(after["pixels"][1], before["pixels"][1])

    after["action"] = torch.zeros(3, dtype=torch.int64)
    following = env.step(after)["next"]
    assert following["episode_length"].flatten().tolist() == [5, 1, 5]
    assert following["episode_return"].flatten().tolist() == [5.0, 1.0, 5.0]
    assert torch.equal(following["pixels"][:, 0], after["pixels"][:, 1])


def alternate(tensordict: TensorDictBase) -> TensorDictBase:
    return tensordict.set("action", tensordict["episode_length"].flatten() % 2)


def test_the_seed_determines_the_episodes() -> None:
    env, again, other = (GymEnv(seed, id="CartPole-v1", **SMALL) for seed in (3, 3, 4))
    first = collect(env, 40, alternate)
    assert first["next", "done"].any()
    assert (first == collect(again, 40, alternate)).all()
    assert not torch.equal(first["pixels"], collect(other, 40, alternate)["pixels"])
    assert not torch.equal(first["pixels"][0], first["pixels"][1]), "each simulator has its own random stream"

    assert not torch.equal(env.reset()["pixels"], first["pixels"][:, 0]), "a reset continues the random stream"
    env.set_seed(3)
    assert (first == collect(env, 40, alternate)).all()


def test_earlier_steps_never_change() -> None:
    env = GymEnv(0, id="CartPole-v1", **SMALL)
    now, steps = env.reset(), []
    for _ in range(40):
        step, now = env.step_and_maybe_reset(alternate(now))
        steps.append((step, step.clone()))
    assert sum(step["next", "done"].sum() for step, _ in steps) >= 2
    assert all((step == copy).all() for step, copy in steps)


def test_writing_into_a_step_never_reaches_the_env() -> None:
    env, untouched = (GymEnv(0, id="CartPole-v1", **SMALL) for _ in range(2))
    action = torch.tensor([0, 1])
    for now in (env.reset(), env.step(TensorDict({"action": action}, [2]))["next"]):
        now.zero_()
    untouched.reset()
    untouched.step(TensorDict({"action": action}, [2]))
    step, expected = (one.step(TensorDict({"action": action}, [2])) for one in (env, untouched))
    assert (step == expected).all()


def test_simulators_receive_actions_that_match_the_action_specs() -> None:
    discrete = GymEnv(0, id="Toy-v0", **SMALL)
    assert discrete.action_spec == Categorical(3, shape=[2])
    assert discrete.single_action_spec == Categorical(3)
    discrete.reset()
    discrete.step(TensorDict({"action": torch.tensor([0, 2])}, [2]))
    assert [simulator.unwrapped.received for simulator in discrete.simulators] == [[5], [7]]

    box = GymEnv(0, id="Toy-v0", make_kwargs={"actions": "box"}, **SMALL)
    assert box.single_action_spec == Bounded(-1.0, 1.0, shape=[2], dtype=torch.float32)
    assert box.action_spec.shape == (2, 2)
    box.reset()
    actions = box.action_spec.rand()
    box.step(TensorDict({"action": actions}, [2]))
    for simulator, action in zip(box.simulators, actions.numpy(), strict=True):
        (received,) = simulator.unwrapped.received
        assert received.dtype == np.float32
        assert np.array_equal(received, action)


def test_the_action_spec_has_pendulums_bounds() -> None:
    assert GymEnv(0, id="Pendulum-v1", **SMALL).single_action_spec == Bounded(-2.0, 2.0, shape=[1], dtype=torch.float32)


def test_observation_spec_and_frame_shape() -> None:
    env = GymEnv(0, id="Toy-v0", num_envs=2, frames=4, size=(5, 7), grayscale=False)
    assert env.frame_shape == FrameShape(frames=4, channels=3, height=5, width=7)
    assert GymEnv(0, id="Toy-v0", num_envs=1, size=None).frame_shape == FrameShape(3, 1, 12, 20)
    assert env.observation_spec["pixels"].shape == (2, 4, 3, 5, 7)
    batch = env.rollout(3)
    assert batch.batch_size == (2, 3)
    assert env.observation_spec.is_in(batch[:, 0].select(*env.observation_spec.keys()))
    assert batch["pixels"].dtype == torch.uint8
    assert batch["next", "reward"].dtype == batch["episode_return"].dtype == torch.float32
    assert batch["episode_length"].dtype == torch.int64


def test_seconds_count_steps_and_resets() -> None:
    env = GymEnv(0, id="CartPole-v1", **SMALL)
    before = env.seconds
    now = env.reset()
    after_reset = env.seconds
    env.step(alternate(now))
    assert before < after_reset < env.seconds < before + 5


def test_closing_one_env_leaves_another_rendering() -> None:
    closed, alive = (GymEnv(0, id="CartPole-v1", **SMALL) for _ in range(2))
    expected = alive.render()
    closed.close()
    assert not any(simulator.unwrapped.isopen for simulator in closed.simulators)
    assert np.array_equal(alive.render(), expected)


def test_making_an_env_prints_nothing() -> None:
    code = "from jepakit.components.envs.gym import GymEnv; GymEnv(0, id='CartPole-v1', num_envs=1).rollout(2)"
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("SDL_", "PYGAME_", "XDG_", "DISPLAY", "WAYLAND_"))
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_nan_reward_is_reported_with_its_step_and_seed() -> None:
    gymnasium.register("Odd-v0", Odd)
    try:
        with pytest.raises(
            EnvFailed, match=r"Odd-v0: step\([01]\) raised ValueError: its reward is nan \(after 2 steps of an episode of simulator 0"
        ):
            GymEnv(7, id="Odd-v0", num_envs=2, size=None).rollout(5)
    finally:
        del gymnasium.registry["Odd-v0"]


def test_a_picture_that_fails_is_reported_with_its_step_and_seed() -> None:
    gymnasium.register("Dark-v0", Dark)
    try:
        for processes in (1, 2):
            with pytest.raises(EnvFailed, match=r"NoneType.* \(after [23] steps of an episode of simulator 0, seeded with"):
                GymEnv(7, processes, id="Dark-v0", num_envs=2, size=None).rollout(5)
    finally:
        del gymnasium.registry["Dark-v0"]


def test_a_simulators_exception_is_reported_with_its_step_and_seed() -> None:
    gymnasium.register("Fails-v0", Fails)
    try:
        env = GymEnv(7, id="Fails-v0", num_envs=2, size=None)
        seeds = np.random.SeedSequence(7).generate_state(2)
        with pytest.raises(EnvFailed) as caught:
            env.rollout(5)
        assert re.fullmatch(
            rf"Fails-v0: step\([01]\) raised ZeroDivisionError: the pole is of no length "
            rf"\(after 2 steps of an episode of simulator 0, seeded with {seeds[0]}\)",
            str(caught.value),
        )
    finally:
        del gymnasium.registry["Fails-v0"]

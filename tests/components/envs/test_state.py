"""The true state of the simulators that jepakit knows, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from jepakit.components.envs.simulators import make_simulator
from jepakit.components.envs.state import true_state
from jepakit.errors import UserError


def states(simulator: gymnasium.Env[Any, Any], steps: int = 12) -> list[tuple[Mapping[str, float], np.ndarray[Any, Any]]]:
    """The state and the observation after each of some random steps."""
    simulator.action_space.seed(0)
    observation, _ = simulator.reset(seed=0)
    seen = [(true_state(simulator.unwrapped), observation)]
    for _ in range(steps):
        observation, *_ = simulator.step(simulator.action_space.sample())
        seen.append((true_state(simulator.unwrapped), observation))
    simulator.close()
    return seen


@pytest.mark.parametrize(
    ("id", "names"),
    [
        ("CartPole-v1", ["position", "velocity", "angle", "angular velocity"]),
        ("Pendulum-v1", ["cos angle", "sin angle", "angular velocity"]),
        ("Acrobot-v1", ["cos angle 1", "sin angle 1", "cos angle 2", "sin angle 2", "angular velocity 1", "angular velocity 2"]),
        ("MountainCar-v0", ["position", "velocity"]),
        ("MountainCarContinuous-v0", ["position", "velocity"]),
    ],
)
def test_classic_control_tells_what_gymnasium_observes(id: str, names: list[str]) -> None:
    for state, observation in states(make_simulator(id, None, {}, drawing=False)):
        assert list(state) == names
        assert [state[name] for name in names] == pytest.approx(observation.tolist(), abs=1e-5)


def test_a_subclass_is_known_as_what_it_extends() -> None:
    class Heavy(CartPoleEnv):
        gravity = 20.0

    (first, *_) = states(gymnasium.wrappers.TimeLimit(Heavy(), 5), steps=2)
    assert list(first[0]) == ["position", "velocity", "angle", "angular velocity"]


def test_a_simulators_own_state_is_used_first() -> None:
    class Told(CartPoleEnv):
        def true_state(self) -> Mapping[str, float]:
            return {"tip": float(self.state[0] + np.sin(self.state[2]))}

    assert list(states(Told(), steps=0)[0][0]) == ["tip"]


def test_an_unknown_simulator_is_an_error_that_says_what_to_write() -> None:
    class Odd(gymnasium.Env[Any, Any]): ...

    with pytest.raises(UserError, match=r"`Odd` is not known: read it by a function, .* or give the simulator a method"):
        true_state(Odd())


def test_minigrid_tells_where_the_agent_is() -> None:
    pytest.importorskip("minigrid")
    grid = gymnasium.make("MiniGrid-Empty-5x5-v0").unwrapped
    grid.reset(seed=0)
    assert true_state(grid) == {"column": 1, "row": 1, "facing right": 1, "facing down": 0, "carries": 0}
    grid.step(2)
    grid.step(1)
    assert true_state(grid) == {"column": 2, "row": 1, "facing right": 0, "facing down": 1, "carries": 0}


def test_atari_tells_the_consoles_memory() -> None:
    pytest.importorskip("ale_py")
    from jepakit.components.envs.atari.ale import Game

    game = Game("Pong", grayscale=True, sticky_actions=0.0, full_action_set=False, max_frames=1000)
    state, memory = states(game, steps=30)[-1]
    assert list(state.values()) == memory.tolist()
    assert list(state)[:2] == ["ram[0]", "ram[1]"]


def test_mujoco_tells_each_joint_by_name() -> None:
    mujoco = pytest.importorskip("mujoco")
    xml = """<mujoco><worldbody>
      <body><freejoint name="root"/><geom size="1"/></body>
      <body><joint name="rail" type="slide" axis="1 0 0"/><geom size="1"/>
        <body><joint name="turn" type="hinge"/><geom size="1"/>
          <body><joint name="bend" type="hinge" range="-1 1" limited="true"/><joint type="ball"/><geom size="1"/></body>
        </body></body></worldbody></mujoco>"""

    class Model:
        model = mujoco.MjModel.from_xml_string(xml)
        data = mujoco.MjData(model)

    Model.data.qpos[:] = np.arange(14)
    Model.data.qvel[:] = np.arange(12)
    state = true_state(Model())
    assert [state[f"position root[{n}]"] for n in range(7)] == [0, 1, 2, 3, 4, 5, 6]
    assert (state["position rail"], state["position bend"], state["velocity rail"], state["velocity turn"]) == (7, 9, 6, 7)
    assert (state["cos turn"], state["sin turn"]) == pytest.approx((np.cos(8), np.sin(8)))
    assert [state[f"position joint 4[{n}]"] for n in range(4)] == [10, 11, 12, 13]
    assert [state[f"velocity joint 4[{n}]"] for n in range(3)] == [9, 10, 11]
    assert len(state) == 7 + 1 + 2 + 1 + 4 + 6 + 1 + 1 + 1 + 3


def test_dm_control_tells_its_joints(opengl_here: str) -> None:
    from dm_control import suite

    env = suite.load("cartpole", "swingup", task_kwargs={"random": 0})
    env.reset()

    class Simulator:
        physics = env.physics

    angle = env.physics.named.data.qpos["hinge_1"]
    assert list(true_state(Simulator())) == ["position slider", "velocity slider", "cos hinge_1", "sin hinge_1", "velocity hinge_1"]
    assert true_state(Simulator())["cos hinge_1"] == pytest.approx(float(np.cos(angle[0])))

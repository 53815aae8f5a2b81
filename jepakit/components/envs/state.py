"""The true state of a simulator as named numbers. Probes read it; the agent never sees it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jepakit.errors import UserError

State = Mapping[str, float]
StateReader = Callable[[Any], State]  #: takes the simulator itself (``unwrapped``)

CLASSIC = "gymnasium.envs.classic_control"
WRITE = "read it by a function, `jepakit probe --state FILE.py:FUNCTION`, or give the simulator a method `true_state() -> {name: number}`"


def true_state(simulator: Any) -> State:
    """The state of ``simulator`` (``unwrapped``): by its own method ``true_state``, if it has one, else as this file knows it.

    Raises:
        UserError: The simulator's kind is not known here.
    """
    if hasattr(simulator, "true_state"):
        told: State = simulator.true_state()
        return told
    for cls in type(simulator).__mro__:  # by name, so that no optional package is imported
        if reader := _BY_CLASS.get(f"{cls.__module__}:{cls.__name__}"):
            return reader(simulator)
    if hasattr(simulator, "physics"):
        return _mujoco(simulator.physics.model.ptr, simulator.physics.data.ptr)
    if hasattr(getattr(simulator, "data", None), "qpos"):
        return _mujoco(simulator.model, simulator.data)
    if hasattr(getattr(simulator, "ale", None), "getRAM"):
        return {f"ram[{place}]": float(byte) for place, byte in enumerate(simulator.ale.getRAM())}
    raise UserError(f"the true state of the simulator `{type(simulator).__name__}` is not known: {WRITE}")


def _named(*names: str) -> StateReader:
    return lambda simulator: dict(zip(names, map(float, simulator.state), strict=True))


def _pendulum(simulator: Any) -> State:
    angle, velocity = map(float, simulator.state)
    return {"cos angle": math.cos(angle), "sin angle": math.sin(angle), "angular velocity": velocity}


def _acrobot(simulator: Any) -> State:
    angles, velocities = simulator.state[:2], simulator.state[2:]
    turned = {f"{name} angle {n}": float(turn(angle)) for n, angle in enumerate(angles, 1) for name, turn in _TURNS}
    return turned | {f"angular velocity {n}": float(velocity) for n, velocity in enumerate(velocities, 1)}


def _lunar_lander(simulator: Any) -> State:
    lander = simulator.lander
    place, speed = lander.position, lander.linearVelocity
    moved = {"x": place.x, "y": place.y, "velocity x": speed.x, "velocity y": speed.y}
    return {name: float(value) for name, value in moved.items()} | {"angle": lander.angle, "angular velocity": lander.angularVelocity}


def _minigrid(simulator: Any) -> State:
    (column, row), (right, down) = simulator.agent_pos, simulator.dir_vec
    seen = {"column": column, "row": row, "facing right": right, "facing down": down, "carries": simulator.carrying is not None}
    return {name: float(value) for name, value in seen.items()}


def _mujoco(model: Any, data: Any) -> State:
    """Position and velocity of each joint by its name. A hinge without limits turns on and on: its angle is told as cosine and sine."""
    state: dict[str, float] = {}
    for joint in range(model.njnt):
        name = model.joint(joint).name or f"joint {joint}"
        place = model.jnt_qposadr[joint]
        width = {0: 7, 1: 4}.get(int(model.jnt_type[joint]), 1)  # mjJNT_FREE, mjJNT_BALL; a slide or a hinge has one
        if model.jnt_type[joint] == _HINGE and not model.jnt_limited[joint]:
            state |= {f"{turn} {name}": float(turned(data.qpos[place])) for turn, turned in _TURNS}
        else:
            state |= dict(_each(f"position {name}", data.qpos[place : place + width]))
        first = model.jnt_dofadr[joint]
        state |= dict(_each(f"velocity {name}", data.qvel[first : first + {7: 6, 4: 3}.get(width, 1)]))
    return state


def _each(name: str, values: Any) -> Iterator[tuple[str, float]]:
    for place, value in enumerate(values):
        yield name if len(values) == 1 else f"{name}[{place}]", float(value)


_HINGE = 3  #: mjJNT_HINGE
_TURNS = (("cos", np.cos), ("sin", np.sin))
_BY_CLASS: dict[str, StateReader] = {
    f"{CLASSIC}.cartpole:CartPoleEnv": _named("position", "velocity", "angle", "angular velocity"),
    f"{CLASSIC}.pendulum:PendulumEnv": _pendulum,
    f"{CLASSIC}.acrobot:AcrobotEnv": _acrobot,
    f"{CLASSIC}.mountain_car:MountainCarEnv": _named("position", "velocity"),
    f"{CLASSIC}.continuous_mountain_car:Continuous_MountainCarEnv": _named("position", "velocity"),
    "gymnasium.envs.box2d.lunar_lander:LunarLander": _lunar_lander,
    "minigrid.minigrid_env:MiniGridEnv": _minigrid,
}

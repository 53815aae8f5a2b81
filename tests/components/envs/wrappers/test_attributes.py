from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from jepakit.components.envs.wrappers.attributes import Attributes


def fall(env: gymnasium.Env) -> float:
    """How far the pole has fallen after ten pushes to the right."""
    env.reset(seed=0)
    for _ in range(5):
        state, *_ = env.step(1)
    return abs(float(state[2]))


def test_other_gravity_is_other_physics() -> None:
    plain, heavy = gymnasium.make("CartPole-v1"), Attributes(gymnasium.make("CartPole-v1"), gravity=40)
    assert fall(heavy) > fall(plain)
    assert heavy.unwrapped.gravity == 40.0
    assert plain.unwrapped.gravity == 9.8


def test_a_longer_pole_is_drawn_longer() -> None:
    frames = []
    for length in (0.5, 1.0):
        env = Attributes(gymnasium.make("CartPole-v1", render_mode="rgb_array"), length=length)
        env.reset(seed=0)
        frames.append((np.asarray(env.render()) < 250).any(axis=-1).sum())
    assert frames[1] > 1.3 * frames[0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gravitation": 1.0}, "no attribute `gravitation`"),
        ({"gravity": "strong"}, "`gravity` is 9.8, so 'strong' cannot take its place"),
        ({"gravity": True}, "cannot take its place"),
        ({"step": 1}, "no attribute `step`"),
        ({"_np_random": 1}, "no attribute `_np_random`"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Attributes(gymnasium.make("CartPole-v1"), **values)

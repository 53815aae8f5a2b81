import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec, load_env_creator

from jepakit.components.envs.simulators import make_simulator
from jepakit.components.envs.wrappers.packed_surfaces import EXACT, PackedSurfaces

IDS = {
    "Acrobot-v1": True,
    "CartPole-v1": True,
    "MountainCar-v0": True,
    "MountainCarContinuous-v0": True,
    "LunarLander-v3": True,
    "Pendulum-v1": False,
}


@pytest.mark.parametrize("id", IDS)
def test_packed_frames_are_the_plain_ones_through_episodes(id: str) -> None:
    if "Lander" in id:
        pytest.importorskip("Box2D")
    packed, plain = make_simulator(id, None, {}), gymnasium.make(id, render_mode="rgb_array")
    assert isinstance(packed, PackedSurfaces) == IDS[id]
    plain.action_space.seed(0)
    for simulator in (packed, plain):
        simulator.reset(seed=3)
    for _ in range(120):
        action = plain.action_space.sample()
        *_, terminated, truncated, _ = (packed.step(action), plain.step(action))[1]
        assert np.array_equal(packed.render(), plain.render())
        if terminated or truncated:
            for simulator in (packed, plain):
                simulator.reset()
    packed.close()
    plain.close()


def test_every_env_drawn_on_packed_surfaces_is_compared() -> None:
    pytest.importorskip("Box2D")
    creators = [load_env_creator(str(gymnasium.registry[id].entry_point)) for id, is_packed in IDS.items() if is_packed]
    assert {creator.render.__module__ for creator in creators} == EXACT  # type: ignore[attr-defined]


def test_a_subclass_that_draws_otherwise_keeps_its_own_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    import pygame
    from gymnasium.envs.classic_control.cartpole import CartPoleEnv

    kinds = []

    class Own(CartPoleEnv):
        def render(self) -> Any:
            kinds.append(pygame.Surface((2, 2)).get_bitsize())
            return super().render()

    monkeypatch.setitem(gymnasium.registry, "Own-v0", EnvSpec("Own-v0", entry_point=Own))
    simulator = make_simulator("Own-v0", None, {})
    expected = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    for one in (simulator, expected):
        one.reset(seed=1)
    assert np.array_equal(simulator.render(), expected.render())
    assert set(kinds) == {32}


def test_surfaces_elsewhere_keep_their_format() -> None:
    import pygame

    simulator = make_simulator("CartPole-v1", None, {})
    simulator.reset(seed=0)
    simulator.render()
    assert pygame.Surface((2, 2)).get_bitsize() == 32
    simulator.unwrapped.state = ("no", "state", "at", "all")  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        simulator.render()
    assert pygame.Surface((2, 2)).get_bitsize() == 32, "nor after an error while drawing"


def test_another_thread_turns_its_pictures_as_ever() -> None:
    import pygame

    simulator = make_simulator("CartPole-v1", None, {})
    simulator.reset(seed=0)
    expected, done = simulator.render(), threading.Event()

    def drawn() -> bool:
        try:
            return all(np.array_equal(simulator.render(), expected) for _ in range(300))
        finally:
            done.set()

    with ThreadPoolExecutor() as threads:
        same = threads.submit(drawn)
        while not done.is_set():
            picture = pygame.Surface((1, 2))
            picture.set_at((0, 0), (9, 9, 9))
            assert pygame.transform.flip(picture, False, True).get_at((0, 1))[:3] == (9, 9, 9)
        assert same.result()

import gc
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pygame
import pytest
from numpy.typing import NDArray

from jepakit.components.envs.gym import GymEnv
from jepakit.components.envs.simulators import draw, make_simulator
from jepakit.errors import UserError


@pytest.mark.parametrize(
    ("id", "reason"),
    [
        ("CartPol-v1", r"id CartPol-v1: .* Registered ids like it: `CartPole-v1`"),
        ("CARTPOLE-V1", "`CartPole-v1`"),
        ("CartPole-v7", r"id CartPole-v7: Environment version `v7` .* doesn't exist.* `CartPole-v1`"),
        ("Arcade/Pong-v5", "id Arcade/Pong-v5: Namespace Arcade not found"),
        ("not an id", "id not an id: Malformed environment ID"),
        ("NeedsExtra-v0", r"id NeedsExtra-v0: Toys are not installed, run `pip install \"toys\[all\]\"`"),
        ("NeedsModule-v0", "id NeedsModule-v0: the module `no_such_module_here` is not installed; `pip install no_such_module_here`"),
        ("no_such_module_here:Env-v0", "the module `no_such_module_here` is not installed"),
    ],
)
def test_an_unknown_id_or_missing_package_is_explained(id: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        make_simulator(id, None, {})


def test_a_module_in_the_current_folder_is_suggested_as_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("no_such_module_here.py").touch()
    with pytest.raises(UserError, match=r"no_such_module_here\.py lies here: list \./no_such_module_here\.py under `plugins:`"):
        make_simulator("no_such_module_here:Env-v0", None, {})


@pytest.mark.parametrize(("make_kwargs", "reason"), [({"nonsense": 1}, "'nonsense'"), ({"render_mode": "human"}, "'render_mode'")])
def test_refuses_arguments_that_the_env_does_not_take(make_kwargs: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=rf"id CartPole-v1: .*{reason}"):
        make_simulator("CartPole-v1", None, make_kwargs)


def test_arguments_reach_the_env() -> None:
    assert make_simulator("Pendulum-v1", None, {"g": 2.5}).unwrapped.g == 2.5


@pytest.mark.parametrize("actions", ["endless_box", "flat_box", "int_box", "multi", "tuple"])
def test_refuses_unsupported_action_spaces(actions: str) -> None:
    with pytest.raises(UserError, match=r"id Toy-v0: its actions are (Box|MultiDiscrete|Tuple)\(.*supported are Discrete and bounded"):
        GymEnv(0, id="Toy-v0", num_envs=1, make_kwargs={"actions": actions})


@pytest.mark.parametrize("id", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCar-v0"])
def test_classic_control_renders_on_the_fast_canvas(id: str) -> None:
    canvas = pygame.surfarray.pixels3d(make_simulator(id, None, {}).unwrapped.screen)
    assert canvas.strides == (3, 3 * canvas.shape[0], 1), "contiguous RGB, row by row"


def test_an_env_whose_image_depends_on_its_canvas_keeps_that_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    from gymnasium.envs.classic_control import CartPoleEnv

    original = CartPoleEnv.render

    def render(self: CartPoleEnv) -> Any:
        image = original(self)
        image[0, 0] = self.screen.get_bitsize()
        return image

    monkeypatch.setattr(CartPoleEnv, "render", render)
    simulator = make_simulator("CartPole-v1", None, {})
    assert isinstance(simulator.unwrapped.screen, pygame.Surface)
    assert np.array_equal(draw(simulator)[0, 0], [32, 32, 32])


@pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed: pip install 'jepakit[dmc]'")
def test_a_mujoco_simulator_renders_its_own_state_after_another_was_closed() -> None:
    def images(simulator: gymnasium.Env[Any, Any]) -> list[NDArray[np.uint8]]:
        simulator.reset(seed=3)
        return [(simulator.step(np.ones(1)), draw(simulator))[1] for _ in range(4)]

    try:
        first, second = (make_simulator("InvertedPendulum-v5", None, {}) for _ in range(2))
    except UserError as error:
        pytest.skip(str(error))
    expected = images(second)
    assert not np.array_equal(expected[0], expected[-1])
    second.close()
    for drawn, image in zip(images(first), expected, strict=True):
        assert np.array_equal(drawn, image)
    third = make_simulator("InvertedPendulum-v5", None, {})
    first.close()
    first.close()
    del first, second
    gc.collect()  # which frees what they have made for drawing, and nothing of the third's
    for drawn, image in zip(images(third), expected, strict=True):
        assert np.array_equal(drawn, image)
    third.close()

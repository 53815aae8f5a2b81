from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from jepakit.components.envs.gym import GymEnv
from jepakit.components.envs.proof import prove_pixels
from jepakit.errors import UserError


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("constant", r"id Toy-v0: `pixels` hold only the value 7"),
        ("one_at_a_time", r"id Toy-v0: `pixels` hold only the value \d+, or one at a time"),
        ("vector", r"id Toy-v0: cannot render rgb_array: render\(\) gave float32 \[4\], not uint8 \[H, W, 3\]"),
        ("floats", r"render\(\) gave float64 \[12, 20, 3\]"),
        ("single_channel", r"render\(\) gave uint8 \[12, 20\]"),
        ("four_channels", r"render\(\) gave uint8 \[12, 20, 4\]"),
        ("row_of_colours", r"render\(\) gave uint8 \[12, 3\]"),
        ("nothing", r"render\(\) gave a NoneType"),
        ("missing", r"id Toy-v0: cannot render rgb_array, so it has no pixels to learn from"),
        ("noisy", r"`pixels` after a reset must be K copies of render\(\), resized in the same way"),
    ],
)
def test_refuses_a_rendering_that_is_no_image_of_the_state(image: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        GymEnv(0, id="Toy-v0", num_envs=2, size=(6, 10), make_kwargs={"image": image})


@pytest.mark.parametrize("size", [(6, 10), None])
@pytest.mark.parametrize("grayscale", [True, False])
@pytest.mark.parametrize("image", ["honest", "flipped", "blinking"])
def test_accepts_images_of_the_state(image: str, size: tuple[int, int] | None, grayscale: bool) -> None:
    prove_pixels(GymEnv(0, id="Toy-v0", num_envs=2, size=size, grayscale=grayscale, make_kwargs={"image": image}))


class Floats(GymEnv):
    def _observation(self) -> TensorDict:
        return super()._observation().apply(lambda value: value / 255.0)


class ChannelsLast(GymEnv):
    def _observation(self) -> TensorDict:
        observation = super()._observation()
        return observation.set("pixels", observation["pixels"].movedim(2, -1))


class ZeroFilled(GymEnv):
    """Fills the stack with zeros rather than the first frame."""

    def _observation(self) -> TensorDict:
        observation = super()._observation()
        observation["pixels"][:, 0] = 0
        return observation


class LastEnvOnly(GymEnv):
    """Gives all envs the same pixels."""

    def _observation(self) -> TensorDict:
        observation = super()._observation()
        return observation.set("pixels", observation["pixels"][-1:].expand(2, -1, -1, -1, -1).clone())


class FadesIn(GymEnv):
    """Black at first, and longer in the second env."""

    def _observation(self) -> TensorDict:
        observation = super()._observation()
        for n, last in enumerate((2, 6)):
            observation["pixels"][n] *= observation["episode_length"][n] > last
        return observation

    def render(self) -> list[Any]:
        return [image * (length > last) for image, length, last in zip(super().render(), self.lengths[:, 0].tolist(), (2, 6), strict=True)]


def test_an_env_may_begin_with_a_black_screen() -> None:
    torch.manual_seed(0)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    env = FadesIn(0, id="CartPole-v1", num_envs=2, size=(6, 10))
    assert torch.equal(torch.rand(1), drawn)
    assert not env.reset()["pixels"].any()


class OneEnvBlank(GymEnv):
    def _observation(self) -> TensorDict:
        observation = super()._observation()
        observation["pixels"][1] = 7
        return observation


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (Floats, "`pixels` must be uint8, not float32"),
        (ChannelsLast, r"`pixels` must be \[2, 3, 1, 6, 10\] \(envs, frames, channels, height, width\), not \[2, 3, 6, 10, 1\]"),
        (OneEnvBlank, "hold only the value 7"),
        (ZeroFilled, "resized in the same way, but are not"),
        (LastEnvOnly, "but are not"),
    ],
)
def test_refuses_an_env_that_breaks_the_slots_contract(broken: type[GymEnv], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        broken(0, id="Toy-v0", num_envs=2, size=(6, 10))


def test_the_check_leaves_the_episodes_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    def shades(**context: Any) -> torch.Tensor:
        env = GymEnv(0, id="Toy-v0", num_envs=2, size=None)
        return torch.cat([env.rollout(10)["pixels"] for _ in range(3)], dim=1)

    proved = shades()
    monkeypatch.setattr("jepakit.components.envs.pixels.prove_pixels", lambda env: None)
    assert torch.equal(proved, shades())
    assert len(np.unique(proved[:, :, 0, 0, 0, 0])) > 2

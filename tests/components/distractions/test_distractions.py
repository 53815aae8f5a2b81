"""Each kind of distraction matches its formula, and envs show their task through it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jepakit.components.distractions.camera import Camera
from jepakit.components.distractions.colours import Colours
from jepakit.components.distractions.noise import Noise
from jepakit.components.distractions.video import Video
from jepakit.components.envs.gym import GymEnv
from jepakit.protocols import Distraction, FrameShape
from jepakit.recipe import load_recipe
from jepakit.recipe.errors import RecipeError
from jepakit.training.build import build_env

SHAPE = FrameShape(3, 3, 20, 30)
MOMENTS = [(episode, step) for episode in (3, 8) for step in (0, 1, 2)]


def show(distraction: Distraction, frame: Tensor, episode: int = 3, step: int = 0) -> Tensor:
    return distraction(frame, lambda: torch.ones(frame.shape[1:], dtype=torch.bool), episode, step)


@pytest.fixture
def frame() -> Tensor:
    return torch.randint(0, 256, SHAPE[1:], generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("kind", [Noise, Colours, partial(Camera, shift=9)])
@pytest.mark.parametrize(("changes", "different"), [("never", 1), ("episode", 2), ("step", 6)])
def test_a_distraction_changes_as_configured(kind: Callable[..., Distraction], changes: str, different: int, frame: Tensor) -> None:
    shown = {show(kind(0, SHAPE, changes=changes), frame, *moment).numpy().tobytes() for moment in MOMENTS}
    assert len(shown) == different


@pytest.mark.parametrize("kind", [Noise, Colours, Camera, Video])
def test_another_seed_gives_another_distraction(kind: type, frame: Tensor) -> None:
    assert not torch.equal(show(kind(0, SHAPE), frame), show(kind(1, SHAPE), frame))


def test_noise_is_uniform(frame: Tensor) -> None:
    seen = torch.stack([show(Noise(0, SHAPE), frame, step=step) for step in range(200)]).double()
    counts = seen.flatten().long().bincount(minlength=256).double()
    expected = counts.sum() / 256
    assert ((counts - expected) ** 2 / expected).sum() < 340  # χ² with 255 degrees of freedom: 0.999 quantile 330
    assert abs(np.corrcoef(seen[:-1].flatten(), seen[1:].flatten())[0, 1]) < 0.01  # a frame does not predict the next one


def test_strength_blends_and_where_selects_the_pixels(frame: Tensor) -> None:
    left = torch.arange(30).expand(20, -1) < 10
    whole = Noise(0, SHAPE)(frame, lambda: left, 3, 1)
    half = Noise(0, SHAPE, strength=0.5)(frame, lambda: left, 3, 1)
    assert torch.equal(whole[:, ~left], frame[:, ~left])
    assert not torch.equal(whole[:, left], frame[:, left])
    assert torch.equal(half.double(), torch.round((frame.double() + whole.double()) / 2))  # rounds half to even, as torch does
    everywhere = Noise(0, SHAPE, where="everywhere")(frame, lambda: left, 3, 1)
    assert torch.equal(everywhere[:, left], whole[:, left])
    assert not torch.equal(everywhere[:, ~left], frame[:, ~left])


def test_a_video_moves_smoothly_and_repeats(frame: Tensor) -> None:
    video = Video(0, SHAPE, period=10)
    film = torch.stack([show(video, frame, step=step) for step in range(11)]).double()
    assert torch.equal(film[10], film[0])  # each wave has moved by one wavelength
    following, far = (film[1] - film[0]).abs().mean(), (film[5] - film[0]).abs().mean()
    assert 0 < following < far / 2


def test_colours_follow_their_formula(frame: Tensor) -> None:
    strength = 0.4
    shown = show(Colours(0, SHAPE, strength=strength), frame).double()
    for old, new in zip(frame.double(), shown, strict=True):
        inside = (new > 0) & (new < 255)
        slope, offset = np.polyfit(old[inside] - 127.5, new[inside] - 127.5, 1)
        assert abs(slope - 1) <= strength + 0.01
        assert abs(offset) <= 255 * strength + 1
        assert (new - (slope * (old - 127.5) + offset + 127.5).clamp(0, 255)).abs().max() < 1.1  # rounding


def test_a_camera_shifts_and_repeats_the_border(frame: Tensor) -> None:
    padded = np.pad(frame.numpy(), ((0, 0), (2, 2), (2, 2)), mode="edge")
    crops = {padded[:, dy : dy + 20, dx : dx + 30].tobytes(): (dy, dx) for dy in range(5) for dx in range(5)}
    camera = Camera(0, SHAPE, shift=2, changes="step")
    seen = {crops[show(camera, frame, step=step).numpy().tobytes()] for step in range(300)}
    assert len(seen) == 25


def make_env(*distractions: Distraction, seed: int = 0) -> GymEnv:
    env = GymEnv(seed, id="CartPole-v1", num_envs=2, size=(40, 60), max_episode_steps=9)
    env.distractions = distractions
    return env


def play(env: GymEnv, steps: int) -> Tensor:
    torch.manual_seed(0)
    return env.rollout(steps, break_when_any_done=False)["next", "pixels"]


def test_an_env_distracts_only_its_background() -> None:
    clean, noisy = (play(make_env(*shown), 30) for shown in ((), (Noise(0, FrameShape(3, 1, 40, 60)),)))
    background = clean == 255
    assert torch.equal(noisy[~background], clean[~background])
    assert noisy[background].double().mean() == pytest.approx(127.5, abs=1)
    newest, before = noisy[:, 1:9, 1], noisy[:, :8, 2]
    assert torch.equal(newest, before)  # a frame keeps its noise while it moves through the stack


def test_noise_behind_a_moved_camera_leaves_the_task_visible() -> None:
    frames = FrameShape(3, 1, 40, 60)
    moved, noisy = (play(make_env(*shown), 30) for shown in ((Camera(0, frames),), (Camera(0, frames), Noise(1, frames))))
    background = moved == 255
    assert torch.equal(noisy[~background], moved[~background])
    assert noisy[background].double().mean() == pytest.approx(127.5, abs=1)


def test_each_distraction_of_a_recipe_draws_for_itself() -> None:
    env: Any = build_env(
        load_recipe("cartpole_pixels", {"seed": 5, "distractions": [{"kind": "camera"}, {"kind": "colours"}, {"kind": "noise"}]})
    )
    seeds = [distraction.seed for distraction in env.distractions]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3


def test_a_restored_env_continues_with_the_same_noise() -> None:
    kinds = [Noise(0, FrameShape(3, 1, 40, 60), changes=changes) for changes in ("step", "episode")]
    env = make_env(*kinds)
    play(env, 12)
    saved = env.snapshot()
    env.is_restored = True  # the reset at the start of the next rollout keeps the running episodes
    expected = play(env, 20)
    other = make_env(*kinds)
    play(other, 5)
    other.restore(saved)
    assert torch.equal(play(other, 20), expected)


def test_each_episode_of_each_simulator_has_its_own_noise() -> None:
    env = make_env(Noise(0, FrameShape(3, 1, 40, 60), changes="episode", where="everywhere"))
    firsts = [env.reset()["pixels"][:, -1] for _ in range(3)]
    assert len({frame.numpy().tobytes() for pair in firsts for frame in pair}) == 6


def test_a_dmc_env_distracts_the_ground_but_not_the_target(opengl_here: str) -> None:
    recipe = load_recipe(
        "dmc/jepa_sac", {"env.domain": "reacher", "env.task": "easy", "distractions": [{"kind": "noise", "changes": "never"}]}
    )
    env = build_env(recipe)
    frames = play(env, 6)[0, :, -1].permute(0, 2, 3, 1).int()
    env.close()
    still = (frames == frames[0]).all(dim=-1).all(dim=0)
    red, yellow = ((frames[0] - torch.tensor(colour)).abs().sum(dim=-1) < 90 for colour in ((200, 80, 80), (220, 190, 100)))
    assert still.float().mean() > 0.7  # the ground, with noise that never changes
    assert red.sum() > 40  # the target is no background, although it belongs to the world body
    assert yellow.sum() > 30


def test_an_env_without_pixels_refuses_distractions() -> None:
    with pytest.raises(RecipeError, match="distractions"):
        build_env(load_recipe("cartpole_pixels", ["env={kind: gym_state, id: CartPole-v1}", "distractions=[{kind: noise}]"]))

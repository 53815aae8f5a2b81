"""Two rooms: physics against a slow march, pictures against positions, goals, and what a restored env goes on with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from jepakit.components.envs.two_rooms.env import TwoRoomsEnv
from jepakit.components.envs.two_rooms.simulator import LARGEST_STEP, TwoRooms
from jepakit.components.envs.two_rooms.walls import CLEARANCE, HIGH, LOW, Layout, Place
from jepakit.protocols import ACTION, EPISODE_LENGTH, PIXELS, HasGoals

MARCH = 1_500


def in_wall(layout: Layout, place: Place) -> bool:
    """Whether a point is in an outer wall, or in the wall between the rooms and not in its door."""
    x, y = place
    outside = x <= LOW or x >= HIGH or y <= LOW or y >= HIGH
    return bool(outside or (abs(x - layout.wall) <= 1 and not abs(y - layout.door) < 4))


def marched(layout: Layout, place: Place, step: Place) -> Place:
    """The slow way: in tiny steps, of which a wall takes away one part."""
    for _ in range(MARCH):
        tiny = step / MARCH
        for part in (tiny, tiny * [1, 0], tiny * [0, 1]):
            if not in_wall(layout, place + part):
                place = place + part
                break
    return place


def test_steps_end_where_a_slow_march_along_the_walls_ends() -> None:
    draws = np.random.default_rng(0)
    met, slid, crossed, apart, tried = 0, 0, 0, 0, 0
    for _ in range(250):
        layout = Layout(float(draws.integers(20, 44)), float(draws.integers(10, 54)))
        place = np.array([layout.wall, layout.door]) + draws.uniform(-6, 6, 2)
        if in_wall(layout, place):
            continue
        step = draws.uniform(-8, 8, 2) * draws.choice([0, 1, 1, 1], 2)  # also along one axis, and longer than an action
        found, expected = layout.moved(place, step), marched(layout, place, step)
        assert not in_wall(layout, found)
        blocked = ~np.isclose(found, place + step)
        tried += 1
        apart += not np.allclose(found, expected, atol=3 * CLEARANCE if blocked.any() else 1e-9)
        met += blocked.any()
        slid += blocked.sum() == 1
        crossed += (place[0] < layout.wall) != (found[0] < layout.wall)
    assert apart <= 0.03 * tried, "at a wall's end the clearance decides on which side a step goes on"
    assert met > 20
    assert slid > 15
    assert crossed > 20


def test_no_wall_is_passed_however_long_the_point_is_driven_into_it() -> None:
    draws, layout = np.random.default_rng(1), Layout(32, 10)
    place = np.array([10.0, 40.0])
    for drive in draws.uniform(-LARGEST_STEP, LARGEST_STEP, (20, 2)):
        for _ in range(60):
            moved = layout.moved(place, drive)
            assert not in_wall(layout, moved)
            assert (moved[0] > 32) == (place[0] > 32) or 6 < moved[1] < 14
            place = moved


@pytest.mark.parametrize("layout", ["fixed", "random"])
def test_starts_and_goals_are_in_different_rooms_and_layouts_are_as_asked(layout: str) -> None:
    rooms = TwoRooms(layout, 32, 10, 4.5)  # type: ignore[arg-type]
    seen, left = set(), 0
    for episode in range(200):
        rooms.reset(seed=0 if episode == 0 else None)
        assert (rooms.place[0] < rooms.layout.wall) != (rooms.goal[0] < rooms.layout.wall)
        assert not in_wall(rooms.layout, rooms.place)
        assert not in_wall(rooms.layout, rooms.goal)
        seen.add(rooms.layout)
        left += rooms.place[0] < rooms.layout.wall
    assert 60 < left < 140
    assert seen == {Layout(32, 10)} if layout == "fixed" else len(seen) > 100


def test_pictures_show_the_point_in_red_and_the_walls_in_green_and_blue() -> None:
    rooms = TwoRooms("fixed", 32, 10, 4.5)
    image = rooms.picture(np.array([20.0, 41.0])).astype(int)
    assert image[41, 20, 0] == 255
    assert image[41, 22, 0] == round(255 * np.exp(-(2**2) / (2 * 1.3**2)))
    rows, columns = np.indices((64, 64))
    red = image[..., 0]
    assert ((red * columns).sum() / red.sum(), (red * rows).sum() / red.sum()) == pytest.approx((20, 41), abs=0.02)
    assert np.array_equal(image[..., 1], image[..., 2])
    walls = image[..., 1] > 0
    for y, x in [(40, 31), (40, 33), (5, 32), (15, 32), (4, 9), (59, 9), (9, 4), (9, 59)]:
        assert walls[y, x]
    for y, x in [(6, 32), (14, 32), (40, 30), (40, 34)]:
        assert not walls[y, x]


def test_an_episode_ends_with_reward_1_within_the_distance_or_at_its_budget() -> None:
    env = TwoRoomsEnv(0, num_envs=2, max_episode_steps=30)
    assert isinstance(env, HasGoals)
    env.reset()
    first, other = (simulator.unwrapped for simulator in env.simulators)
    first.place, other.place = first.goal + np.array([0, 6.9]), other.goal + np.array([0, 20])
    step = env.step(TensorDict({ACTION: torch.tensor([[0.0, -2.3], [0.0, 0.0]])}, [2]))["next"]
    assert step["reward"].flatten().tolist() == [0.0, 0.0]
    step = env.step(TensorDict({ACTION: torch.tensor([[0.0, -2.3], [0.0, 0.0]])}, [2]))["next"]
    assert step["reward"].flatten().tolist() == [1.0, 0.0]
    assert step["terminated"].flatten().tolist() == [True, False]
    assert step["episode_return"].flatten().tolist() == [1.0, 0.0]
    while not step["truncated"][1]:
        step = env.step_and_maybe_reset(TensorDict({ACTION: torch.zeros(2, 2)}, [2]))[0]["next"]
    assert step[EPISODE_LENGTH][1].item() == 30


@pytest.mark.parametrize("processes", [1, 2])
def test_goals_are_what_the_env_shows_there_and_change_with_the_episode(processes: int) -> None:
    env = TwoRoomsEnv(5, processes, num_envs=2, frames=2, layout="random", max_episode_steps=3)
    reference = TwoRooms("random", 32, 10, 4.5)
    try:
        now = env.reset()
        assert env.goals is not None
        first = env.goals.clone()
        assert first.shape == now[PIXELS].shape == (2, 2, 3, 64, 64)
        reference.reset(seed=env._first_seeds[0])
        expected = torch.from_numpy(reference.picture(reference.goal)).permute(2, 0, 1)
        assert torch.equal(first[0], expected.expand(2, -1, -1, -1))
        for _ in range(3):
            _, now = env.step_and_maybe_reset(env.rand_action(now))
        assert not torch.equal(env.goals, first)
    finally:
        env.close()


def test_a_restored_env_goes_on_with_the_same_goals_and_frames() -> None:
    def env() -> TwoRoomsEnv:
        return TwoRoomsEnv(3, num_envs=3, layout="random", max_episode_steps=7)

    original, restored = env(), env()
    assert original.restores_exactly()
    draws = torch.Generator().manual_seed(0)
    actions = (torch.rand(30, 3, 2, generator=draws) * 2 - 1) * LARGEST_STEP

    def played(which: TwoRoomsEnv, some: torch.Tensor) -> list[torch.Tensor]:
        now, seen = which.reset(), []
        for action in some:
            step, now = which.step_and_maybe_reset(now.set(ACTION, action))
            assert which.goals is not None
            seen += [step["next", PIXELS], now[PIXELS], which.goals.clone()]
        return seen

    played(original, actions[:10])
    played(restored, actions[:4])
    restored.restore(original.snapshot())
    original.is_restored = True  # its own next reset also continues
    for mine, theirs in zip(played(original, actions[10:]), played(restored, actions[10:]), strict=True):
        assert torch.equal(mine, theirs)


def test_probes_read_where_the_point_is() -> None:
    env = TwoRoomsEnv(0, num_envs=1, layout="random")
    env.reset()
    rooms = env.simulators[0].unwrapped
    assert env.true_state() == [{"x": rooms.place[0], "y": rooms.place[1], "wall": rooms.layout.wall, "door": rooms.layout.door}]

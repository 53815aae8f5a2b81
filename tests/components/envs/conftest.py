from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


ACTION_SPACES = {
    "discrete": spaces.Discrete(3, start=5),
    "box": spaces.Box(-1.0, 1.0, (2,)),
    "endless_box": spaces.Box(-np.inf, np.inf, (2,)),
    "flat_box": spaces.Box(-1.0, 1.0, (2, 2)),
    "int_box": spaces.Box(0, 5, (2,), dtype=np.int64),
    "multi": spaces.MultiDiscrete([2, 2]),
    "tuple": spaces.Tuple([spaces.Discrete(2)]),
}


class Toy(gymnasium.Env[Any, Any]):
    """Terminates at step 4, whatever the actions, and renders the kind of image that `image` names."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 50}

    def __init__(self, render_mode: str, image: str = "honest", actions: str = "discrete") -> None:
        self.render_mode, self.image = render_mode, image
        self.action_space, self.observation_space = ACTION_SPACES[actions], spaces.Discrete(10)
        self.received: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        self.shade = self.np_random.integers(1, 100)
        return self.steps, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.received.append(action)
        self.steps += 1
        return self.steps, -0.5, self.steps == 4, False, {}

    def render(self) -> Any:
        canvas = np.zeros((12, 20, 3), dtype=np.uint8)
        canvas[:6] = self.shade + self.steps
        match self.image:
            case "constant":
                return np.full_like(canvas, 7)
            case "one_at_a_time":
                return np.full_like(canvas, self.shade + self.steps)
            case "vector":
                return np.zeros(4, dtype=np.float32)
            case "floats":
                return canvas / 255
            case "single_channel":
                return canvas[:, :, 0]
            case "four_channels":
                return np.concatenate([canvas, canvas[..., :1]], axis=2)
            case "row_of_colours":
                return canvas[:, 0]
            case "nothing":
                return None
            case "missing":
                return super().render()
            case "noisy":
                return np.random.default_rng().integers(0, 256, canvas.shape, dtype=np.uint8)
            case "blinking":  # a corner changes with each rendering
                self.drawn = getattr(self, "drawn", 0) + 1
                canvas[:1, :4] = 40 * (self.drawn % 5)
                return canvas
            case "flipped":
                return canvas[::-1]
        return canvas


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    def needs_extra(**_: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled('Toys are not installed, run `pip install "toys[all]"`')

    specs = {"Toy-v0": Toy, "NeedsExtra-v0": needs_extra, "NeedsModule-v0": "no_such_module_here:Env"}
    for id, entry_point in specs.items():
        gymnasium.register(id, entry_point)
    yield
    for id in specs:
        del gymnasium.registry[id]

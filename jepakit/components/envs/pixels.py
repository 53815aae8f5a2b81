"""N simulators seen through what they draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.components.envs.batched import BatchedEnv
from jepakit.components.envs.proof import prove_pixels
from jepakit.components.envs.tape import Simulator
from jepakit.components.envs.wrappers.observed_image import described
from jepakit.components.shared.frames import to_frame
from jepakit.protocols import FrameShape


class PixelEnv(BatchedEnv):
    """A frame is what a simulator's ``render()`` draws, resized and, where asked for, grey.

    A simulator whose resets tell a picture in ``info["goal_image"]``, of the kind that it draws, gives the env `goals`
    (`jepakit.protocols.HasGoals`).

    Args:
        seed: Starts the one stream that all simulators' seeds come from.
        id: Names the env in messages.
        make: Makes one simulator, which was reset once: it can draw.
        num_envs: N.
        frames: How many of the last frames make one observation (K).
        size: Height and width of a frame; None keeps those of the drawn image.
        grayscale: One luma channel rather than RGB.
        frames_per_step: Simulator frames in one env step.
        processes: How many processes the simulators are spread over.

    Raises:
        UserError: The actions are of a kind not supported, or the ``pixels`` fail `prove_pixels`.
    """

    def __init__(
        self,
        seed: int,
        id: str,
        make: Callable[[], Simulator],
        num_envs: int,
        *,
        frames: int,
        size: tuple[int, int] | None,
        grayscale: bool,
        frames_per_step: int = 1,
        processes: int = 1,
    ) -> None:
        height, width = size or _drawn_size(make())
        shape = FrameShape(frames, 1 if grayscale else 3, height, width)
        super().__init__(seed, id, make, num_envs, shape, torch.uint8, frames_per_step, processes)
        self.size, self.grayscale = size, grayscale
        self.goals: Tensor | None = None
        self.tells_goals: bool | None = None  #: whether resets tell of goals; None: there was no reset yet

        # Proved here rather than on request, so that no caller can forget it. Seeding anew makes the proof leave no trace in the episodes.
        prove_pixels(self)
        self.set_seed(seed)

    def render(self) -> list[NDArray[np.uint8]]:
        """What each simulator draws now, uint8 [H, W, 3] (or grey, [H, W]) at its own size."""
        return [np.array(self._image(n)) for n in range(len(self.simulators))]  # copies: simulators may draw into the same memory

    def picture(self, n: int) -> NDArray[np.uint8]:
        """What simulator ``n`` draws now, for people: uint8 [H, W, 3] or grey [H, W]."""
        return self._image(n)

    def snapshot(self) -> dict[str, Any]:
        """As of a `BatchedEnv`, and the goals."""
        return super().snapshot() | ({} if self.goals is None else {"goals": self.goals.clone()})

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Restore ``snapshot``."""
        super().restore(snapshot)
        if self.goals is not None:
            self.goals = snapshot["goals"].clone()

    def _began(self, n: int, info: dict[str, Any]) -> None:
        tells = "goal_image" in info
        if self.tells_goals not in (None, tells):
            raise ValueError("of its resets some tell `goal_image` in `info`, others do not")
        self.tells_goals = tells
        if tells:
            if self.goals is None:
                self.goals = torch.zeros_like(self.stacks)
            self.goals[n] = self._distracted(n, self._goal_frame(info["goal_image"]))

    def _goal_frame(self, image: Any) -> Tensor:
        fits = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3)
        frame = to_frame(image, self.size, self.grayscale) if fits else None
        if frame is None or frame.shape != self.frame_shape[1:]:
            raise ValueError(f"`goal_image` in its `info` is {described(image)}, not a picture such as it draws: uint8 [H, W, 3]")
        return frame

    def _image(self, n: int) -> NDArray[np.uint8]:
        image: Any = self.simulators[n].render()
        return image

    def _frame(self, n: int, observation: Any) -> Tensor:
        return to_frame(self._image(n), self.size, self.grayscale)


def _drawn_size(simulator: Simulator) -> tuple[int, int]:
    image: Any = simulator.render()
    simulator.close()
    height, width = image.shape[:2]
    return height, width

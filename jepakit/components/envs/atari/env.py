"""The env kind ``atari``."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from jepakit.components.envs.atari.ale import Game
from jepakit.components.envs.atari.scores import REFERENCE_SCORES
from jepakit.components.envs.pixels import PixelEnv
from jepakit.components.envs.tape import Simulator
from jepakit.components.envs.wrappers.action_repeat import ActionRepeat
from jepakit.components.envs.wrappers.clipped_reward import ClippedReward
from jepakit.components.envs.wrappers.fire_reset import FireReset
from jepakit.components.envs.wrappers.life_loss import LifeLoss
from jepakit.components.envs.wrappers.noop_starts import NoopStarts
from jepakit.registry import register

Probability = Annotated[float, Field(ge=0, le=1)]


@register("env", "atari")
class AtariEnv(PixelEnv):
    """An Atari 2600 game by the protocol of Atari-100k: 100,000 env steps are 400,000 frames.

    One env step is ``frame_skip`` frames with one action. Its frame is the brighter of the last two, pixel by pixel. Learning sees the sign
    of the summed reward, and an end of the episode where a life is lost. Episodes, returns and lengths are those of whole games and of the
    game's own score. The frames of no-op starts and of pressing fire count towards ``max_frames``, and are no env steps: what they
    score, as in Skiing, is in no return.

    The ALE's own grey screen is taken, and resized with antialiasing, where ``grayscale``; else its RGB screen.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning (all defaults but fire); Kaiser et al. 2020,
        Model-Based Reinforcement Learning for Atari (the 100k protocol); Machado et al. 2018, Revisiting the Arcade Learning Environment
        (another protocol: sticky actions at 0.25, all 18 actions, no end at a lost life).

    Args:
        seed: Starts the one stream that all simulators' seeds come from.
        processes: How many processes the simulators are spread over; 1: they are stepped in this one.
        game: Such as ``Pong``, ``MsPacman`` or ``Qbert``.
        num_envs: How many games are stepped side by side.
        frames: How many of the last frames make one observation (K).
        size: Height and width of a frame; null keeps the screen's, mostly 210×160.
        grayscale: One channel rather than RGB.
        frame_skip: Frames in an env step.
        noop_starts: At most so many frames without an action, at least 1, begin a game; 0: none do.
        fire_reset: Press fire once at each start and after each lost life, in games that have FIRE among their minimal actions (as the ALE
            tells them): some of those, such as Breakout, stand still until then.
        life_loss: Whether a lost life ends the episode for learning. The game goes on, and counts as one episode.
        clip_rewards: Whether learning sees the reward's sign only.
        sticky_actions: Probability with which a frame repeats the action of the frame before.
        full_action_set: All 18 actions rather than those that mean something in this game.
        max_frames: Truncates a game.

    Raises:
        UserError: The ALE has no such game, or has it for two players alone.
    """

    requires: ClassVar[dict[str, str]] = {"ale_py": "pip install 'jepakit[atari]'"}

    def __init__(
        self,
        seed: int,
        processes: int = 1,
        *,
        game: str,
        num_envs: PositiveInt = 8,
        frames: PositiveInt = 4,
        size: tuple[PositiveInt, PositiveInt] | None = (84, 84),
        grayscale: bool = True,
        frame_skip: PositiveInt = 4,
        noop_starts: NonNegativeInt = 30,
        fire_reset: bool = True,
        life_loss: bool = True,
        clip_rewards: bool = True,
        sticky_actions: Probability = 0.0,
        full_action_set: bool = False,
        max_frames: PositiveInt = 108_000,
    ) -> None:
        bare = partial(
            Game,
            game,
            grayscale=grayscale,
            sticky_actions=sticky_actions,
            full_action_set=full_action_set,
            max_frames=max_frames,
        )

        def make() -> Simulator:
            console = bare()
            simulator: Simulator = NoopStarts(console, noop_starts) if noop_starts else console
            simulator = ActionRepeat(simulator, frame_skip, max_of_two=True)
            if life_loss:
                simulator = LifeLoss(simulator)
            if fire_reset and console.needs_fire:
                simulator = FireReset(simulator, console.action("FIRE"))
            return ClippedReward(simulator) if clip_rewards else simulator

        super().__init__(
            seed, game, make, num_envs, frames=frames, size=size, grayscale=grayscale, frames_per_step=frame_skip, processes=processes
        )
        self.reference_scores = REFERENCE_SCORES.get(game)

    def picture(self, n: int) -> NDArray[np.uint8]:
        """The screen's last frame, in colour even if the agent sees grey; of a game in another process, what the agent's is made of."""
        game = self.simulators[n].unwrapped
        screen: NDArray[np.uint8] = game.ale.getScreenRGB() if isinstance(game, Game) else self._image(n)
        return screen

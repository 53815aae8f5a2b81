"""One game on the ALE as a Gymnasium env: one step is one frame."""

from __future__ import annotations

import base64
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepakit.errors import UserError, suggestion

RAM_BYTES = 128
FOR_TWO = ("combat", "joust", "maze_craze", "warlords")  #: the ALE lists them, and ends the process that loads one


class Game(gymnasium.Env[NDArray[np.uint8], Any]):
    """A game, observed by the console's memory; the screen is drawn when ``render()`` asks for it.

    Source: Bellemare et al. 2013, The Arcade Learning Environment: An Evaluation Platform for General Agents.

    Args:
        name: Such as ``Pong`` or ``MsPacman``.
        grayscale: Whether ``render()`` gives the ALE's own grey screen [H, W] rather than the RGB one [H, W, 3].
        sticky_actions: Probability with which a frame repeats the action before, rather than taking the new one.
        full_action_set: All 18 actions of the joystick rather than those that mean something in this game.
        max_frames: An episode is truncated after so many.

    Raises:
        UserError: The ALE has no such game.
    """

    render_mode = "rgb_array"

    def __init__(self, name: str, *, grayscale: bool, sticky_actions: float, full_action_set: bool, max_frames: int) -> None:
        from ale_py import ALEInterface, ALEState, LoggerMode

        self.rom = rom_of(name)
        self.grayscale = grayscale
        self.state_of = ALEState
        ALEInterface.setLoggerMode(LoggerMode.Error)  # before the first one is made: that prints a banner
        self.ale = ALEInterface()
        self.ale.setFloat("repeat_action_probability", 0.0)  # its states would lack the action that is repeated
        self.ale.setInt("max_num_frames_per_episode", max_frames)
        self.ale.loadROM(self.rom)
        self.actions = self.ale.getLegalActionSet() if full_action_set else self.ale.getMinimalActionSet()
        self.sticky_actions = sticky_actions
        self.last = 0  #: the number of the action that the frame before had; 0 is the ALE's NOOP
        self.needs_fire = "FIRE" in (action.name for action in self.ale.getMinimalActionSet())  #: by the ALE's own account
        self.action_space = spaces.Discrete(len(self.actions))
        self.observation_space = spaces.Box(0, 255, (RAM_BYTES,), np.uint8)

    def action(self, meaning: str) -> int:
        """The number of the action that the ALE calls ``meaning``, such as FIRE."""
        return [action.name for action in self.actions].index(meaning)

    def lives(self) -> int:
        """How many are left; 0 in games without."""
        return self.ale.lives()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begins a new episode."""
        super().reset(seed=seed)
        if seed is not None:
            self.ale.setInt("random_seed", int(self.np_random.integers(2**31)))
            self.ale.loadROM(self.rom)  # what takes the seed
        self.ale.reset_game()
        self.last = 0
        return self.ale.getRAM(), {}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """One frame; after an episode's end it changes nothing and says again that the game is over."""
        if not self.sticky_actions or self.np_random.random() >= self.sticky_actions:
            self.last = int(action)
        reward = float(self.ale.act(self.actions[self.last]))
        return self.ale.getRAM(), reward, self.ale.game_over(with_truncation=False), self.ale.game_truncated(), {}

    def render(self) -> Any:
        """The screen, as of the last frame that was stepped or reset to: a restored state shows with its next frame."""
        return self.ale.getScreenGrayscale() if self.grayscale else self.ale.getScreenRGB()

    def save_state(self) -> dict[str, Any]:
        """The emulator, both generators (the ALE's, and that of resets and sticky actions), and the last action."""
        state = self.ale.cloneState(include_rng=True).serialize()
        return {"ale": base64.b64encode(state).decode("ascii"), "generator": self.np_random.bit_generator.state, "last": self.last}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go where `save_state` was called."""
        self.ale.restoreState(self.state_of(base64.b64decode(state["ale"])))
        self.np_random.bit_generator.state = state["generator"]
        self.last = state.get("last", 0)  # states of older versions lack it


def rom_of(name: str) -> Any:
    """The file of a game's cartridge.

    Raises:
        UserError: The ALE has no such game.
    """
    from ale_py import roms

    known = {"".join(word.capitalize() for word in rom.split("_")): rom for rom in roms.get_all_rom_ids() if rom not in FOR_TWO}
    if name not in known:
        raise UserError(f"the ALE has no game `{name}`; {suggestion(name, sorted(known), 'it has')}")
    return roms.get_rom_path(known[name])

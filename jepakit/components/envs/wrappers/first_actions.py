"""Fewer actions: the first few of a simulator's."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium import spaces

from jepakit.components.envs.tape import Simulator


class FirstActions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Offers the first ``count`` of a simulator's discrete actions alone."""

    def __init__(self, simulator: Simulator, count: int) -> None:
        super().__init__(simulator)
        self.action_space = spaces.Discrete(count)

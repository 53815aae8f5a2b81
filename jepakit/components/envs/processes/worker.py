"""The process that steps and draws some of an env's simulators; it ends when its parent does.

It imports no torch. Messages are pickled, each answered in order: ``(n, call, arguments)`` -> ``(result, None)`` or ``(None, failure)``.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import numpy as np

from jepakit.components.envs.processes.memory import mapped, new_place
from jepakit.components.envs.tape import Simulator, Tape
from jepakit.errors import UserError, told

KEPT = ("raw_reward", "episode_over", "goal_image")  #: what `BatchedEnv` and `PixelEnv` read of ``info``

Failure = tuple[bytes, str, str]  #: an exception, pickled as far as that is possible; its type and text; its traceback


class Hosted:
    """One simulator, and what its parent may call. What it draws it writes to memory that its parent shares.

    Args:
        make: Makes the simulator, which was reset once.
        file: The memory (`processes.memory`).
    """

    def __init__(self, make: Callable[[], Simulator], file: int) -> None:
        self.tape = Tape(make())
        image: Any = self.tape.render()
        is_array = isinstance(image, np.ndarray) and image.nbytes > 0
        self.place = new_place(file, image) if is_array else None  #: of the images; None: they are sent
        self.memory = mapped(file, self.place) if self.place else None

    def step(self, action: Any) -> tuple[Any, ...]:
        """Reward, terminated, truncated and info of a step, and what `render` gives after it."""
        _, reward, terminated, truncated, info = self.tape.step(action)
        return reward, terminated, truncated, _kept(info), self.render()

    def reset(self, seed: int | None) -> tuple[Any, ...]:
        """The info of a reset, and what `render` gives after it. A seed is also that of Python's and NumPy's global generators."""
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)
        _, info = self.tape.reset(seed=seed)
        return _kept(info), self.render()

    def render(self) -> Any:
        """Draws into the memory, and gives None; an image that does not fit there is given itself.

        Raises:
            TypeError: It is no image, though the first one was.
        """
        image: Any = self.tape.render()
        if self.memory is None:
            return image
        if not isinstance(image, np.ndarray):
            raise TypeError(f"render() gave {type(image).__name__}, no image")
        if (image.shape, image.dtype) != (self.memory.shape, self.memory.dtype):
            return image
        self.memory[...] = image
        return None

    def background(self) -> Any:
        """Where the background shows, of simulators that know."""
        simulator: Any = self.tape.unwrapped
        return simulator.background()

    def true_state(self, read: bytes | None) -> Any:
        """The simulator's true state, by the pickled function ``read`` if given."""
        state: Any = self.tape.true_state(_loaded(read) if read else None)
        return dict(state) if isinstance(state, Mapping) else state  # what is no mapping is refused where it arrives

    def snapshot(self) -> Any:
        """What `restore` needs to return here."""
        return self.tape.snapshot()

    def restore(self, snapshot: Any) -> None:
        """Return to the state of ``snapshot``."""
        self.tape.restore(snapshot)


@cache
def _loaded(function: bytes) -> Callable[..., Any]:
    try:
        loaded: Callable[..., Any] = cloudpickle.loads(function)
    except Exception as error:
        raise UserError(f"processes: this env cannot be used in another process ({told(error)}); write `processes: 1`") from error
    return loaded


def _kept(info: dict[str, Any]) -> dict[str, Any]:
    return {key: info[key] for key in KEPT if key in info}


def _failure(error: Exception) -> Failure:
    try:
        dumped = pickle.dumps(error)
    except Exception:
        dumped = b""
    return dumped, f"{type(error).__name__}: {error}", traceback.format_exc()


def serve(connection: Connection, file: int, code: bytes) -> None:
    """Answer messages until the parent closes its end; ``code`` is what makes a simulator, pickled, ``file`` the memory for images."""
    hosted: dict[int, Hosted] = {}
    while True:
        try:
            n, call, arguments = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            if call == "make":
                hosted[n] = Hosted(_loaded(code), file)
                answer: tuple[Any, Failure | None] = (hosted[n].tape.action_space, hosted[n].place), None
            else:
                answer = getattr(hosted[n], call)(*arguments), None
        except Exception as error:
            answer = None, _failure(error)
        try:
            message = pickle.dumps(answer)
        except Exception as error:  # of a simulator's own types
            message = pickle.dumps((None, _failure(error)))
        try:
            connection.send_bytes(message)
        except OSError:
            return


if __name__ == "__main__":
    channel = Connection(os.dup(int(sys.argv[1])))
    sys.path[:], make_one = pickle.loads(channel.recv_bytes())
    serve(channel, int(sys.argv[2]), make_one)

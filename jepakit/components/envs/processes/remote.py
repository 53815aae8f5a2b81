"""An env's simulators in several processes, used as if they were in this one."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from multiprocessing.connection import Connection, Pipe
from types import ModuleType
from typing import Any

import cloudpickle
from numpy.typing import NDArray

from jepakit.components.envs.processes.memory import mapped, new_file
from jepakit.components.envs.state import State, StateReader
from jepakit.components.envs.tape import Simulator
from jepakit.errors import UserError

# Has glibc keep freed memory, as `keep_freed_memory` does in a run's own process: an image is too large for what it keeps by itself.
KEEPING_FREED = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 30)}


def in_processes(make: Callable[[], Simulator], num_envs: int, processes: int) -> list[RemoteSimulator]:
    """``num_envs`` simulators, spread over ``processes`` new processes.

    Raises:
        UserError: ``make`` cannot be sent to another process, or does not work there.
    """
    code = _dumped(make)
    workers = [Worker(code) for _ in range(min(processes, num_envs))]
    simulators = [RemoteSimulator(workers[n * len(workers) // num_envs], n) for n in range(num_envs)]
    try:
        for simulator in simulators:  # all at once
            simulator.begin_making()
        for simulator in simulators:
            simulator.finish_making()
    except BaseException:
        for worker in workers:
            worker.close()
        raise
    return simulators


class Worker:
    """One process, and the connection to it. It starts anew rather than as a fork: OpenGL and threads do not survive one.

    Args:
        make: What makes one simulator, pickled.
    """

    def __init__(self, make: bytes) -> None:
        self.connection, theirs = Pipe()
        self.memory = new_file()  #: for images
        shared = [theirs.fileno(), self.memory]
        command = [sys.executable, "-m", "jepakit.components.envs.processes.worker", *map(str, shared)]
        # In a group of its own, which Ctrl-C does not reach: the parent decides.
        self.process = subprocess.Popen(command, pass_fds=shared, stdin=subprocess.DEVNULL, process_group=0, env=KEEPING_FREED | os.environ)
        theirs.close()
        self.asked: deque[object] = deque()  #: whoever waits for an answer, in order
        self.answers: dict[object, Any] = {}
        self._finalizer = weakref.finalize(self, _end, self.process, self.connection, self.memory)
        self._send((sys.path, make))

    def ask(self, who: object, n: int, call: str, *arguments: Any) -> None:
        """Send a call of simulator ``n``; ``answer(who)`` waits for its result."""
        self._send((n, call, arguments))
        self.asked.append(who)

    def answer(self, who: object) -> Any:
        """The result of the call that ``who`` has asked for; raises what it has raised there."""
        while who not in self.answers:
            try:
                self.answers[self.asked.popleft()] = pickle.loads(self.connection.recv_bytes())
            except (EOFError, OSError):
                self._lost()
        result, failure = self.answers.pop(who)
        if failure is not None:
            raise _raised(*failure)
        return result

    def close(self) -> None:
        """End the process."""
        self._finalizer()

    def _send(self, message: Any) -> None:
        try:
            self.connection.send_bytes(pickle.dumps(message))
        except (BrokenPipeError, OSError):
            self._lost()

    def _lost(self) -> None:
        raise RuntimeError(f"the process that steps it has ended, with exit code {self.process.wait()}") from None


def _raised(dumped: bytes, text: str, trace: str) -> Exception:
    """A worker's exception, or its text where the exception cannot be made here: of an unknown class, or one with other arguments."""
    try:
        error: Exception = pickle.loads(dumped)
    except Exception:
        error = RuntimeError(text)
    error.add_note(trace)  # the parent's own ends where it waited
    return error


def _dumped(function: Callable[..., Any]) -> bytes:
    """``function`` as bytes, with the code of modules that cannot be imported by name, as plug-in files.

    Raises:
        UserError: It cannot be sent to another process.
    """
    modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType) and module.__name__ != "__main__"]
    made_here = [module for module in modules if module.__spec__ is None and getattr(module, "__file__", None)]
    for module in made_here:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(function))
    except Exception as error:
        raise UserError(f"processes: this env cannot be used in another process ({error}); write `processes: 1`") from error
    finally:
        for module in made_here:
            cloudpickle.unregister_pickle_by_value(module)


@lru_cache(maxsize=4)
def _code_of(read: StateReader) -> bytes:
    """``read`` as bytes, made once and not at every step."""
    return _dumped(read)


def _end(process: subprocess.Popen[bytes], connection: Connection, memory: int) -> None:
    connection.close()
    os.close(memory)
    try:
        process.wait(timeout=5)  # it ends by itself
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class RemoteSimulator:
    """What `BatchedEnv` uses of a `Tape`, with the simulator in another process.

    A step or a reset there draws at once, into memory that both processes share; the first ``render()`` after it returns a copy of that
    image, later ones draw again.
    """

    spec = None
    render_mode = "rgb_array"

    def __init__(self, worker: Worker, n: int) -> None:
        self.worker, self.n = worker, n
        self.action_space: Any = None
        self._begun = False
        self._memory: NDArray[Any] | None = None  #: where its images are; None: they are sent
        self._is_drawn = False
        self._sent: Any = None  #: the image, where it was sent

    @property
    def unwrapped(self) -> RemoteSimulator:
        """Itself: its calls reach the simulator."""
        return self

    def begin_making(self) -> None:
        """Have the simulator made; `finish_making` waits for it."""
        self.worker.ask(self, self.n, "make")

    def finish_making(self) -> None:
        """Wait until the simulator is there."""
        self.action_space, place = self.worker.answer(self)
        self._memory = mapped(self.worker.memory, place) if place else None

    def begin(self, action: Any) -> None:
        """Start a step; the next `step` waits for it."""
        self.worker.ask(self, self.n, "step", action)
        self._begun = True

    def step(self, action: Any) -> tuple[None, Any, bool, bool, dict[str, Any]]:
        """As of a Gymnasium env, without the observation."""
        if not self._begun:
            self.begin(action)
        self._begun = False
        reward, terminated, truncated, info, self._sent = self.worker.answer(self)
        self._is_drawn = True
        return None, reward, terminated, truncated, info

    def reset(self, *, seed: int | None = None) -> tuple[None, dict[str, Any]]:
        """As of a Gymnasium env, without the observation."""
        info, self._sent = self._call("reset", seed)
        self._is_drawn = True
        return None, info

    def render(self) -> Any:
        """What the simulator draws."""
        if not self._is_drawn:
            self._sent = self._call("render")
        self._is_drawn = False
        image, self._sent = self._sent, None
        return self._memory.copy() if image is None and self._memory is not None else image

    def background(self) -> Any:
        """Where the background shows, of simulators that know."""
        return self._call("background")

    def true_state(self, read: StateReader | None = None) -> State:
        """As of a `Tape`."""
        state: State = self._call("true_state", _code_of(read) if read else None)
        return state

    def snapshot(self) -> Any:
        """As of a `Tape`."""
        return self._call("snapshot")

    def restore(self, snapshot: Any) -> None:
        """As of a `Tape`."""
        self._is_drawn = False
        self._call("restore", snapshot)

    def close(self) -> None:
        """End the process, and with it the simulators beside this one."""
        self.worker.close()

    def _call(self, call: str, *arguments: Any) -> Any:
        self.worker.ask(self, self.n, call, *arguments)
        return self.worker.answer(self)

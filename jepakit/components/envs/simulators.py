"""Creates a Gymnasium simulator that renders, or tells the user what is missing."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# SDL reads this when pygame first draws. Frames are drawn in memory, so no window opens and no desktop is needed.
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from jepakit.components.envs.opengl import choose_opengl
from jepakit.components.envs.tape import Simulator
from jepakit.components.envs.wrappers.by_path import Wrapping, wrapped
from jepakit.components.envs.wrappers.observed_image import ObservedImage, described
from jepakit.components.envs.wrappers.packed_surfaces import with_packed_surfaces
from jepakit.components.envs.wrappers.raw_reward import with_raw_reward
from jepakit.errors import UserError, raised_in


def make_simulator(
    id: str, max_episode_steps: int | None, make_kwargs: Mapping[str, Any], *, drawing: bool = True
) -> gymnasium.Env[Any, Any]:
    """Create a simulator and render once, because a missing package often shows only then.

    Args:
        id: Gymnasium's id.
        max_episode_steps: Maximum length of an episode; None keeps the id's own limit.
        make_kwargs: Further arguments of ``gymnasium.make``.
        drawing: Whether the simulator will render; if not, packages needed only for that may be missing.

    Returns:
        The simulator, already reset once: seed it at its next reset.

    Raises:
        UserError: The id is unknown, a package is not installed, an argument is refused, or it renders no RGB image.
    """
    render_mode = {"render_mode": "rgb_array"} if drawing else {}
    if drawing and _is_mujoco(id):
        choose_opengl()
    try:
        # Gymnasium's checker wraps every call but checks only the first; `prove_pixels` checks what matters here.
        simulator = gymnasium.make(id, max_episode_steps=max_episode_steps, disable_env_checker=True, **render_mode, **make_kwargs)
        if drawing and hasattr(simulator.unwrapped, "mujoco_renderer"):
            simulator = InOwnContext(simulator)
        simulator.reset(seed=0)
        image = draw(simulator) if drawing else None
    except gymnasium.error.UnregisteredEnv as error:
        raise UserError(f"id {id}: {error}{_near_matches(id)}") from error
    except ModuleNotFoundError as error:
        missing = error.name or getattr(error.__cause__, "name", None)
        if missing and Path(f"{missing}.py").is_file():
            advice = f"{missing}.py lies here: list ./{missing}.py under `plugins:`, and register the env there"
        else:
            advice = f"`pip install {missing}` may be what it needs"
        raise UserError(f"id {id}: the module `{missing}` is not installed; {advice}") from error
    except NotImplementedError as error:
        raise UserError(f"id {id}: cannot render rgb_array, so it has no pixels to learn from") from error
    except (gymnasium.error.Error, ImportError, TypeError, ValueError, AssertionError) as error:
        raise UserError(f"id {id}: {str(error) or f'{type(error).__name__} ({raised_in(error)})'}") from error
    return simulator if image is None else with_packed_surfaces(simulator, image)


def registered_for(id: str) -> dict[str, EnvSpec]:
    """``id``, with or without its version, and the envs of the same module: another process may lack them, or know others by these ids."""
    named = {known: spec for known, spec in gymnasium.registry.items() if id in (known, known.rpartition("-v")[0])}
    modules = {_module_of(spec) for spec in named.values()} - {None}
    return named | {known: spec for known, spec in gymnasium.registry.items() if _module_of(spec) in modules}


def _module_of(spec: EnvSpec) -> str | None:
    """The module of an env that was registered as a class or function."""
    return getattr(spec.entry_point, "__module__", None) if callable(spec.entry_point) else None


def make_wrapped(
    id: str,
    registered: Mapping[str, EnvSpec],
    max_episode_steps: int | None,
    make_kwargs: Mapping[str, Any],
    wrappers: Sequence[Wrapping],
    draws: bool,
    grayscale: bool,
) -> Simulator:
    """Make a simulator with wrappers around it; without ``draws`` its images are its observations.

    Args:
        id: Gymnasium's id.
        registered: Envs to register first (`registered_for`).
        max_episode_steps: Maximum length of an episode; None keeps the id's own limit.
        make_kwargs: Further arguments of ``gymnasium.make``.
        wrappers: The innermost first.
        draws: Whether it is seen through ``render()``.
        grayscale: Whether grey images will do.

    Raises:
        UserError: The env or a wrapper cannot be created, or its observations are no images as wanted.
    """
    gymnasium.registry.update(registered)
    simulator = make_simulator(id, max_episode_steps, make_kwargs, drawing=draws)
    for wrapping in wrappers:
        simulator = wrapped(simulator, wrapping)
    simulator = with_raw_reward(simulator)
    return simulator if draws else _observed(simulator, id, grayscale)


def _observed(simulator: Simulator, id: str, grayscale: bool) -> Simulator:
    try:
        observed = ObservedImage(simulator)
        image, _ = observed.reset(seed=0)
    except (TypeError, ValueError) as error:
        raise UserError(f"id {id}: `observation: env` does not fit: {error}; `observation: render` takes what it draws") from error
    if not grayscale and image.shape[2:] != (3,):
        raise UserError(f"id {id}: its observations are grey: write `grayscale: true`")
    return observed


def _is_mujoco(id: str) -> bool:
    """Whether a registered id is a MuJoCo env of Gymnasium's, and MuJoCo is there."""
    spec = gymnasium.registry.get(id)
    return spec is not None and "mujoco" in str(spec.entry_point) and find_spec("mujoco") is not None


class InOwnContext(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Draws a MuJoCo simulator in its own OpenGL context, and frees there what it has made for drawing.

    Gymnasium does both in the current context, which is that of the simulator made last: once that one is closed, all others draw black,
    and once an earlier one is no more, that one does.
    """

    is_closed = False

    def render(self) -> Any:
        """What the simulator draws, after its context is made current."""
        viewer = self.unwrapped.mujoco_renderer.viewer  # type: ignore[attr-defined]
        if viewer is not None:
            viewer.make_context_current()
        return super().render()

    def close(self) -> None:
        """Closes the simulator."""
        viewer = self.unwrapped.mujoco_renderer.viewer  # type: ignore[attr-defined]
        if viewer is not None and not self.is_closed:
            viewer.make_context_current()
            viewer.con.free()
        self.is_closed = True
        super().close()


def draw(simulator: gymnasium.Env[Any, Any]) -> NDArray[np.uint8]:
    """Render a simulator's current state.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UserError: The result is not an RGB image.
    """
    image = simulator.render()
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    id = simulator.spec.id if simulator.spec else type(simulator.unwrapped).__name__
    raise UserError(f"id {id}: cannot render rgb_array: render() gave {described(image)}, not uint8 [H, W, 3]")


def _near_matches(id: str) -> str:
    by_lowercase = {known.lower(): known for known in gymnasium.registry}
    near = [f"`{by_lowercase[match]}`" for match in difflib.get_close_matches(id.lower(), by_lowercase)]
    if near:
        return f" Registered ids like it: {', '.join(near)}."
    return " An id that another package registers is written `module:id`, for example `ale_py:ALE/Pong-v5`."

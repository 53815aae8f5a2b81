"""One task of dm_control's suite as a Gymnasium simulator."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from jepakit.components.envs.tape import Simulator
from jepakit.components.envs.wrappers.action_repeat import ActionRepeat
from jepakit.errors import UserError, suggestion, told

Draw = Literal["exact", "fast"]
UNLIMITED = 1e10  #: the bound that MuJoCo gives to an actuator without one


def make_simulator(
    domain: str, task: str, action_repeat: int, size: tuple[int, int], camera: int | str, draw: Draw, max_episode_steps: int
) -> Simulator:
    """Makes a simulator that repeats each action, resets it once and has it draw.

    Raises:
        UserError: There is no such task or camera.
    """
    try:
        from dm_control import suite
    except (ImportError, AttributeError) as error:
        fits = "`pip install 'jepakit[dmc]'` installs versions of dm_control and MuJoCo that fit each other"
        raise UserError(f"dm_control cannot be imported: {told(error)}; {fits}") from error
    if domain not in suite.TASKS_BY_DOMAIN:
        raise UserError(f"domain: the suite has no `{domain}`; {suggestion(domain, suite.TASKS_BY_DOMAIN, 'its domains are')}")
    if task not in (tasks := suite.TASKS_BY_DOMAIN[domain]):
        raise UserError(f"task: `{domain}` has no `{task}`; {suggestion(task, tasks, 'its tasks are')}")
    simulator = ActionRepeat(SuiteSimulator(domain, task, size, camera, draw, max_episode_steps), action_repeat)
    simulator.reset(seed=0)
    return simulator


class SuiteSimulator(gymnasium.Env[Any, Any]):
    """One task of the suite as a Gymnasium simulator, which can save and load its state.

    A reset with a seed begins the episode that ``suite.load(domain, task, {"random": seed})`` begins with. Every other reset draws a seed
    from ``np_random``: the task's own generator then never matters beyond an episode's start.

    Args:
        domain: The suite's domain.
        task: The domain's task.
        size: Height and width of a drawn image.
        camera: The model's camera, by number or name.
        draw: As in `DmcEnv`.
        max_episode_steps: Truncates an episode after so many steps.

    Raises:
        UserError: There is no such camera.
    """

    render_mode = "rgb_array"

    def __init__(self, domain: str, task: str, size: tuple[int, int], camera: int | str, draw: Draw, max_episode_steps: int) -> None:
        from absl import logging
        from dm_control import suite
        from dm_control.mujoco.engine import Camera

        logging.set_verbosity(logging.ERROR)  # MuJoCo's remarks about the suite's own models
        # This seed is that of models which are themselves random. The time limit is ours: theirs cannot be set back.
        self.suite = suite.load(domain, task, task_kwargs={"random": 0, "time_limit": float("inf")})
        self.physics: Any = self.suite.physics
        self.max_episode_steps, self.steps = max_episode_steps, 0
        actions: Any = self.suite.action_spec()
        low, high = (np.where(np.abs(bound) < UNLIMITED, bound, bound * np.inf) for bound in (actions.minimum, actions.maximum))
        self.action_space = spaces.Box(low, high, dtype=actions.dtype)

        vis = self.physics.model.vis
        vis.global_.offheight, vis.global_.offwidth = size  # all of the buffer is cleared for each frame: the same pixels, sooner
        if draw == "fast":
            vis.quality.offsamples = 0
        self.flags = {"shadow": False, "reflection": False} if draw == "fast" else {}
        try:
            self.camera: Any = Camera(self.physics, *size, camera)
        except Exception as error:  # dm_control has classes of its own here
            raise UserError(f"camera: {error}") from error

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        self.suite.task.random.seed(int(self.np_random.integers(2**32)) if seed is None else seed)
        self.steps = 0
        return self.suite.reset().observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Terminates where dm_control ends an episode with a discount of 0, which only ``lqr`` does."""
        now = self.suite.step(action)
        self.steps += 1
        terminated = now.last() and now.discount == 0
        truncated = self.steps >= self.max_episode_steps or (now.last() and not terminated)
        return now.observation, float(now.reward), terminated, truncated, {}

    def render(self) -> Any:
        """What the camera sees, uint8 [H, W, 3]."""
        return self.camera.render(render_flag_overrides=self.flags).copy()  # of a buffer that the next frame is written to

    def background(self) -> Any:
        """Where the camera sees the sky or a plane (the ground, and the walls of some tasks), bool [H, W]."""
        import mujoco

        seen, sort = self.camera.render(segmentation=True).transpose(2, 0, 1)
        types = self.physics.model.geom_type[np.where(sort == mujoco.mjtObj.mjOBJ_GEOM, seen, 0)]
        return (seen < 0) | ((sort == mujoco.mjtObj.mjOBJ_GEOM) & (types == mujoco.mjtGeom.mjGEOM_PLANE))

    def save_state(self) -> dict[str, Any]:
        """All that decides how the episode goes on; what a reset changes in the model itself, the same reset changes again."""
        return {
            "physics": self.physics.get_state(_integration()).tolist(),
            "steps": self.steps,
            "np_random": self.np_random.bit_generator.state,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes there, without drawing."""
        import mujoco

        self.physics.set_state(np.array(state["physics"]), _integration())
        mujoco.mj_step1(self.physics.model.ptr, self.physics.data.ptr)  # positions and velocities, as dm_control leaves them after a step
        self.steps = state["steps"]
        self.np_random.bit_generator.state = state["np_random"]

    def close(self) -> None:
        """Frees the physics, and what draws it."""
        self.physics.free()


def _integration() -> int:
    """MuJoCo's name for all that a step reads, the solver's warm start included."""
    import mujoco

    return int(mujoco.mjtState.mjSTATE_INTEGRATION)

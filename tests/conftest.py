"""Fixtures that many tests share: one thread, an env that draws its history into its frames, small learners."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, settings
from tensordict import TensorDictBase
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import Categorical

from jepakit.components.algorithms.ppo import PPO
from jepakit.components.encoders.vit import ViT
from jepakit.components.envs.gym import GymEnv
from jepakit.components.envs.opengl import choose_opengl
from jepakit.components.objectives.l2 import L2
from jepakit.components.predictors.mlp import MLPPredictor
from jepakit.components.targets.ema import EMA
from jepakit.errors import UserError
from jepakit.machine.hardware import Hardware
from jepakit.protocols import Augmentation, FrameShape
from jepakit.training.learner import Learner
from jepakit.training.policy import Policy
from jepakit.training.terms import JEPA, WeightedTerm

# A busy machine is slow, which is no defect; fixtures hold nothing that an example changes.
settings.register_profile("jepakit", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
settings.load_profile("jepakit")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when a test imports MLflow; its thread draws random numbers
FRAMES = FrameShape(frames=3, channels=1, height=8, width=12)
ACTIONS = 3
WIDTH = 8

MakeLearner = Callable[..., Learner]
Collect = Callable[..., TensorDictBase]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto`` is one more than the cores: now and then a test waits for a process that it has started."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jepakit.storage.recipes._cache", lambda: tmp_path_factory.getbasetemp() / "cache")
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)
    os.environ.pop("COLUMNS", None)  # readline sets it in parallel test processes, and tables would take their width from it


class Diary(gymnasium.Env[Any, Any]):
    """Draws the number of its episode (rows 0-1), that of its step (rows 2-3) and 10 + the action that led here (rows 4-5).

    Terminates after 2 to 6 steps, so that a limit of 4 gives episodes that terminate, are truncated, or both at once.
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 50}
    action_space = spaces.Discrete(ACTIONS)
    observation_space = spaces.Discrete(10)

    def __init__(self, render_mode: str) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.steps, self.action = int(self.np_random.integers(1, 250)), 0, -10
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.steps, self.action = self.steps + 1, action
        return self.steps, self.steps - 0.5 * float(action), self.steps >= 2 + self.episode % 5, False, {}

    def render(self) -> Any:
        canvas = np.full((8, 12, 3), 255, dtype=np.uint8)
        canvas[0:2], canvas[2:4], canvas[4:6] = self.episode, self.steps, 10 + self.action
        canvas[:, -1] = 0
        return canvas


@pytest.fixture(scope="session")
def opengl_here() -> str:
    """The OpenGL backend with which dm_control renders on this machine. Without one, the test is skipped."""
    pytest.importorskip("dm_control")
    try:
        return choose_opengl()["opengl"]
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True, scope="session")
def diary() -> Iterator[None]:
    gymnasium.register("Diary-v0", Diary)
    yield
    del gymnasium.registry["Diary-v0"]


@pytest.fixture(scope="session")
def make_learner() -> MakeLearner:
    """A learner of small parts on ``FRAMES``. Its weights are larger than initial weights, so that every part affects the result."""

    def make(
        *,
        encoder: nn.Module | None = None,
        jepa: Mapping[str, Any] | None = {},
        terms: Mapping[str, WeightedTerm] = {},
        augmentations: Sequence[Augmentation] = (),
        precision: str = "fp32",
        seed: int = 0,
        lr: float = 1e-3,
        lr_factors: Mapping[str, float] = {},
        lr_schedule: str = "constant",
        warmup_updates: int = 0,
        max_grad_norm: float | None = None,
        max_bad_updates: int = 10,
        **ppo: Any,
    ) -> Learner:
        torch.manual_seed(seed)
        spec = Categorical(ACTIONS)
        encoder = encoder or ViT(FRAMES, dim=WIDTH, depth=2, heads=2, patch=4)
        algorithm = PPO(WIDTH, spec, **{"rollout_steps": 8, "epochs": 1, "minibatch_size": 8} | ppo)
        with torch.no_grad():
            for parameter in (*encoder.parameters(), *algorithm.parameters()):
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
        defaults: dict[str, Any] = {"weight": 1.0, "horizon": 1, "y": "stack"}
        if jepa is not None:
            defaults |= {"target": EMA(encoder), "followed": encoder, "predictor": MLPPredictor(WIDTH, spec, hidden=6), "objective": L2()}
        return Learner(
            encoder=encoder,
            embedding_width=WIDTH,
            jepa=JEPA(**defaults | dict(jepa)) if jepa is not None else None,
            terms=terms,
            augmentations=augmentations,
            algorithm=algorithm,
            hardware=Hardware("cpu", precision, threads=1),
            lr=lr,
            lr_factors=lr_factors,
            lr_schedule=lr_schedule,
            warmup_updates=warmup_updates,
            eps=1e-8,
            max_grad_norm=max_grad_norm,
            max_bad_updates=max_bad_updates,
        )

    return make


@pytest.fixture(scope="session")
def collect() -> Collect:
    """A batch [N, T] from TorchRL's collector: ``steps`` steps of the learner's policy in ``num_envs`` Diary envs."""

    def batch(learner: Learner, *, num_envs: int = 3, steps: int = 16, seed: int = 0) -> TensorDictBase:
        env = GymEnv(seed, id="Diary-v0", num_envs=num_envs, frames=FRAMES.frames, size=None, max_episode_steps=4)
        torch.manual_seed(seed)
        frames = num_envs * steps
        collector = Collector(env, Policy(learner), frames_per_batch=frames, total_frames=frames, auto_register_policy_transforms=False)
        (collected,) = collector
        collector.shutdown()
        return collected

    return batch

"""From a recipe to its parts: every component built in order, each by name of what it asks for."""

from __future__ import annotations

import contextlib
import random
import traceback
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import nn
from torchrl.envs import EnvBase

import jepakit
from jepakit import registry
from jepakit.diagnostics.embedding import only_looking
from jepakit.errors import UserError
from jepakit.protocols import ACTION, EPISODE_LENGTH, EPISODE_RETURN, PIXELS, Env, FrameShape
from jepakit.recipe.errors import RecipeError
from jepakit.training.hardware import Hardware
from jepakit.training.learner import JEPA, Learner, WeightedRegularizer, expect_shape, unroll
from jepakit.training.policy import Policy

if TYPE_CHECKING:
    from jepakit.recipe import Recipe

#: Folders whose lines a user has not written.
NOT_THE_USERS = (str(Path(torch.__file__).parents[1]), str(Path(jepakit.__file__).parent), str(Path(contextlib.__file__).parent))


def build_env(recipe: Recipe) -> EnvBase:
    """The recipe's environment, proven to yield pixels.

    Raises:
        RecipeError: It can't be made as the recipe says.
    """
    with blaming(recipe, "env"):
        env = registry.build("env", recipe.env, seed=recipe.seed)
        _check_env(env)
        return env


def build_learner(recipe: Recipe, env: EnvBase, hardware: Hardware) -> Learner:
    """Every trained part, initialised from the recipe's seed.

    Each part draws its initial weights from a seed of its own, made of the recipe's seed and the part's name, so that taking one part
    out of a recipe leaves the others' initial weights as they were.

    Raises:
        RecipeError: A component can't be built as the recipe says; placed at that component.
    """
    context: dict[str, Any] = {"frames": env.frame_shape, "action_spec": env.single_action_spec}

    def part(slot: str, path: str, config: Any, name: str = "") -> Any:
        with blaming(recipe, path), torch.device(hardware.device):
            seed_everything(zlib.crc32(f"{recipe.seed} {name or path}".encode()))
            component = registry.build(slot, config, **context)
            return component.to(hardware.device) if isinstance(component, nn.Module) else component

    encoder = part("encoder", "encoder", recipe.encoder)
    with blaming(recipe, "encoder"), hardware.autocast():
        width = measure_width(encoder, env.frame_shape, hardware.device)
    context |= {"encoder": encoder, "embedding_width": width}
    jepa = None
    if recipe.jepa:
        jepa = JEPA(
            target=part("target", "jepa.target", recipe.jepa.target),
            predictor=part("predictor", "jepa.predictor", recipe.jepa.predictor),
            objective=part("objective", "jepa.objective", recipe.jepa.objective),
            weight=recipe.jepa.weight,
            horizon=recipe.jepa.horizon,
            y=recipe.jepa.y,
        )
    regularizers = {
        config.kind: WeightedRegularizer(
            part("regularizer", f"regularizers.{i}", config, name=f"regularizers.{config.kind}"), config.weight
        )
        for i, config in enumerate(recipe.regularizers)
    }
    learner = Learner(
        encoder=encoder,
        embedding_width=width,
        jepa=jepa,
        regularizers=regularizers,
        algorithm=part("algorithm", "algorithm", recipe.algorithm),
        hardware=hardware,
        **recipe.optimizer.model_dump(),
    )
    seed_everything(recipe.seed)
    return learner


def _check_env(env: Any) -> None:
    fits = isinstance(env, EnvBase) and isinstance(env, Env)
    if not fits:
        raise ValueError(f"{type(env).__name__} is no TorchRL EnvBase with frame_shape, single_action_spec and seconds")
    pixels, expected = env.observation_spec[PIXELS], (*env.batch_size, *env.frame_shape)
    if pixels.dtype != torch.uint8 or pixels.shape != expected:
        raise ValueError(f"`{PIXELS}` must be uint8 {list(expected)} (N, K, C, H, W); its spec says {pixels.dtype} {list(pixels.shape)}")
    missing = [key for key in (EPISODE_RETURN, EPISODE_LENGTH) if key not in env.observation_spec]
    if missing:
        raise ValueError(f"its observations lack {' and '.join(missing)}")


def measure_width(encoder: nn.Module, frames: FrameShape, device: str) -> int:
    """D, by one fake forward (which also gives lazy modules their shapes).

    Raises:
        ValueError: The encoder's output is not float [*, D].
    """
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"an encoder is a torch.nn.Module with forward(pixels); {type(encoder).__name__} is none")
    noise = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 1, *frames), dtype=torch.uint8, generator=noise, device="cpu").to(device)
    with only_looking(encoder):
        s_x = encoder(pixels)
    if not (isinstance(s_x, torch.Tensor) and s_x.is_floating_point() and s_x.ndim == 3 and s_x.shape[:2] == (2, 1)):
        found = f"{s_x.dtype} {list(s_x.shape)}" if isinstance(s_x, torch.Tensor) else type(s_x).__name__
        raise ValueError(
            f"for pixels uint8 {list(pixels.shape)} (any leading dimensions, then K, C, H, W) "
            f"the encoder must return float [2, 1, D]; it returned {found}"
        )
    if not s_x.isfinite().all():
        raise ValueError("for random pixels the encoder returned numbers that are not finite")
    return s_x.shape[-1]


def notices(recipe: Recipe, env: EnvBase) -> list[str]:
    """What is legal, and may not be meant."""
    found = []
    jepa = recipe.jepa and recipe.jepa.weight > 0
    regularized = any(config.weight > 0 for config in recipe.regularizers)
    if not (jepa or regularized or getattr(recipe.algorithm, "gradients_to_encoder", True)):
        found.append("no trained term reaches the encoder: it keeps its random weights")
    batch = getattr(recipe.algorithm, "rollout_steps", 1) * env.batch_size[0]
    whole = -(-recipe.total_steps // batch) * batch
    if whole != recipe.total_steps:
        found.append(f"total_steps {recipe.total_steps:,} is rounded up to whole batches of {batch:,}: {whole:,}")
    return found


def rehearse(recipe: Recipe, env: EnvBase, hardware: Hardware) -> Learner:
    """Push one fake batch through parts of its own, policy to optimizer step, so that a run does not fail at step 1.

    Returns:
        Those parts, to be looked at and thrown away.

    Raises:
        RecipeError: Some part does not fit; placed at the component whose code raised, where that can be told.
    """
    learner = build_learner(recipe, env, hardware)
    policy = Policy(learner)
    places = {id(learner.encoder): "encoder", id(learner.algorithm): "algorithm"}
    if learner.jepa:
        places |= {id(getattr(learner.jepa, part)): f"jepa.{part}" for part in ("target", "predictor", "objective")}
    places |= {id(weighted.regularizer): f"regularizers.{i}" for i, weighted in enumerate(learner.regularizers.values())}
    with blaming(recipe, "algorithm", places):
        steps, wanted = learner.algorithm.rollout_steps, learner.algorithm.minibatch_size
        if recipe.jepa and recipe.jepa.horizon > steps:
            raise recipe.error("jepa.horizon", f"a horizon of {recipe.jepa.horizon} reaches beyond the {steps} steps of a rollout")
        rows = env.batch_size[0] * steps
        if rows < wanted:
            raise ValueError(f"minibatch_size {wanted} is more than a collected batch holds: {rows} env steps")
        acted = [policy(env.fake_tensordict().exclude("action").to(hardware.device)) for _ in range(2)]
        batch = TensorDict.stack(acted, dim=1)  # [N, 2]
        for pixels in (batch[PIXELS], batch["next", PIXELS]):
            pixels.random_(0, 256)
        _try_each_part(recipe, learner, batch.flatten())
        learner.learn(batch, progress=0.0)
    return learner


def _try_each_part(recipe: Recipe, learner: Learner, steps: TensorDictBase) -> None:
    """Each part of L_JEPA and each regularizer by itself on ``steps`` [B], so that a mistake is placed at the part that made it."""
    s_x = learner.embed(steps[PIXELS])  # [B, D]
    if learner.jepa:
        with blaming(recipe, "jepa.target"):
            s_y = learner.jepa.target(steps[PIXELS][:, None])
            expect_shape("target", s_y, (len(s_x), 1, learner.embedding_width))
        with blaming(recipe, "jepa.predictor"):
            s_y_hat = unroll(learner.jepa.predictor, s_x, steps[ACTION][:, None])
            expect_shape("predictor", s_y_hat, s_y.shape)
        with blaming(recipe, "jepa.objective"):
            expect_shape("objective", learner.jepa.objective(s_y_hat, s_y.float()), s_y.shape[:2])
    for i, weighted in enumerate(learner.regularizers.values()):
        with blaming(recipe, f"regularizers.{i}"):
            expect_shape("regularizer", weighted.regularizer(s_x), ())


@contextmanager
def blaming(recipe: Recipe, path: str, places: Mapping[int, str] = MappingProxyType({})) -> Iterator[None]:
    """Turn whatever is raised inside into a RecipeError at the recipe's ``path``.

    Args:
        recipe: Knows where each of its values is written.
        path: Whom to blame.
        places: Whom to blame instead, by ``id`` of the component whose method raised.
    """
    try:
        yield
    except RecipeError:
        raise
    except Exception as error:
        foreseen = isinstance(error, (UserError, ValueError))
        message = str(error) if foreseen else f"{type(error).__name__}: {error}"
        frames = list(traceback.walk_tb(error.__traceback__))[::-1]
        path = next((places[id(frame.f_locals.get("self"))] for frame, _ in frames if id(frame.f_locals.get("self")) in places), path)
        theirs = [(frame, line) for frame, line in frames if not frame.f_code.co_filename.startswith(NOT_THE_USERS)]
        if theirs and (places or not foreseen):
            message += f" ({Path(theirs[0][0].f_code.co_filename).name}, line {theirs[0][1]})"
        field = f"{path}.{message.partition(' ')[0]}"  # "patch 7 does not divide ...": point at the patch
        raise recipe.error(field if recipe.origin(field) else path, message) from error


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

"""From a recipe to its parts: every component built in order, each by name of what it asks for."""

from __future__ import annotations

import contextlib
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torchrl.envs import EnvBase

from jepakit import registry
from jepakit.components.encoders.simnorm import SimNorm
from jepakit.diagnostics.embedding import only_looking
from jepakit.errors import UserError
from jepakit.machine.generators import seed_everything
from jepakit.machine.hardware import Hardware
from jepakit.protocols import EPISODE_LENGTH, EPISODE_RETURN, PIXELS, Env, FrameShape, OffPolicyAlgorithm
from jepakit.recipe.errors import RecipeError
from jepakit.training.experience.replay import Replay
from jepakit.training.learner import Learner
from jepakit.training.terms import JEPA, ProjectedEncoder, WeightedTerm

if TYPE_CHECKING:
    from jepakit.recipe import Recipe
    from jepakit.recipe.schema import Jepa
    from jepakit.registry import TermFields

#: Folders whose lines a user has not written.
NOT_THE_USERS = (str(Path(torch.__file__).parents[1]), str(Path(registry.__file__).parents[1]), str(Path(contextlib.__file__).parent))


def build_env(recipe: Recipe) -> EnvBase:
    """The recipe's environment, proven to yield pixels.

    Raises:
        RecipeError: It can't be made as the recipe says.
    """
    with blaming(recipe, "env"):
        env = registry.build("env", recipe.env, seed=recipe.seed)
        _check_env(env)
        return env


def build_learner(recipe: Recipe, env: EnvBase, hardware: Hardware, replay_folder: Path | None = None) -> Learner:
    """Every trained part, initialised from the recipe's seed.

    Each part draws its initial weights from a seed of its own, made of the recipe's seed and the part's name, so that taking one part
    out of a recipe leaves the others' initial weights as they were.

    Args:
        recipe: What to build.
        env: The recipe's env: its frames and actions.
        hardware: Where to.
        replay_folder: Where a memory-mapped replay puts its files.

    Raises:
        RecipeError: A component can't be built as the recipe says; placed at that component.
    """
    context: dict[str, Any] = {"frames": env.frame_shape, "action_spec": env.single_action_spec}

    def part(slot: str, path: str, config: Any, name: str = "", **other: Any) -> Any:
        with blaming(recipe, path), torch.device(hardware.device):
            seed_everything(zlib.crc32(f"{recipe.seed} {name or path}".encode()))
            component = registry.build(slot, config, **context | other)
            if hidden := hidden_weights(component, other.values()):
                raise ValueError(f"it holds weights (`{hidden}`) and is no torch.nn.Module: they would be neither trained nor saved")
            return component.to(hardware.device) if isinstance(component, nn.Module) else component

    def terms(slot: str, path: str, configs: Sequence[TermFields]) -> dict[str, WeightedTerm]:
        made = {}
        for i, config in enumerate(configs):
            loss = part(slot, f"{path}.{i}", config, name=f"{path}.{config.kind}")
            with blaming(recipe, f"{path}.{i}"):
                made[f"{slot}/{config.kind}"] = WeightedTerm(loss, config.weight)
        return made

    encoder = part("encoder", "encoder", recipe.encoder)
    with blaming(recipe, "encoder"), hardware.autocast():
        width = measure_width(encoder, env.frame_shape, hardware.device, env.observation_spec[PIXELS].dtype)
        if recipe.encoder.simnorm:
            encoder = nn.Sequential(encoder, SimNorm(width, recipe.encoder.simnorm))
    context |= {"encoder": encoder, "embedding_width": width}
    jepa = _build_jepa(recipe.jepa, part, encoder, width, hardware.device) if recipe.jepa else None
    augmentations = [part("augmentation", f"augmentations.{i}", config) for i, config in enumerate(recipe.augmentations)]
    losses = terms("regularizer", "regularizers", recipe.regularizers) | terms("auxiliary", "auxiliary", recipe.auxiliary)
    algorithm = part("algorithm", "algorithm", recipe.algorithm)
    learner = Learner(
        encoder=encoder,
        embedding_width=width,
        jepa=jepa,
        terms=losses,
        augmentations=augmentations,
        algorithm=algorithm,
        replay=build_replay(recipe, algorithm, env, hardware, replay_folder) if isinstance(algorithm, OffPolicyAlgorithm) else None,
        hardware=hardware,
        **recipe.optimizer.model_dump(),
    )
    seed_everything(recipe.seed)
    return learner


def _build_jepa(config: Jepa, part: Callable[..., Any], encoder: nn.Module, width: int, device: str) -> JEPA:
    projector = part("projector", "jepa.projector", config.projector) if config.projector else None
    if projector:
        width = projector(torch.zeros(1, width, device=device)).shape[-1]
    followed = ProjectedEncoder(encoder, projector) if projector else encoder
    return JEPA(
        target=part("target", "jepa.target", config.target, encoder=followed),
        followed=followed,
        predictor=part("predictor", "jepa.predictor", config.predictor),
        objective=part("objective", "jepa.objective", config.objective, embedding_width=width),
        projector=projector,
        weight=config.weight,
        horizon=config.horizon,
        y=config.y,
    )


def build_replay(recipe: Recipe, algorithm: OffPolicyAlgorithm, env: EnvBase, hardware: Hardware, folder: Path | None = None) -> Replay:
    """The recipe's replay, which takes its memory as it fills.

    Raises:
        RecipeError: It cannot be made as the recipe says.
    """
    with blaming(recipe, "replay"):
        return Replay(
            algorithm,
            horizon=recipe.jepa.horizon if recipe.jepa else 1,
            frames=env.frame_shape,
            num_envs=env.batch_size[0],
            settings=recipe.replay,
            device=hardware.device,
            folder=folder if recipe.replay.memory_map else None,
            dtype=env.observation_spec[PIXELS].dtype,
        )


def _check_env(env: Any) -> None:
    fits = isinstance(env, EnvBase) and isinstance(env, Env)
    if not fits:
        raise ValueError(f"{type(env).__name__} is no TorchRL EnvBase with frame_shape, single_action_spec and seconds")
    pixels, expected = env.observation_spec[PIXELS], (*env.batch_size, *env.frame_shape)
    if pixels.dtype not in (torch.uint8, torch.float32) or pixels.shape != expected:
        raise ValueError(
            f"`{PIXELS}` must be uint8 (float32 for state vectors) {list(expected)} (N, K, C, H, W); "
            f"its spec says {pixels.dtype} {list(pixels.shape)}"
        )
    missing = [key for key in (EPISODE_RETURN, EPISODE_LENGTH) if key not in env.observation_spec]
    if missing:
        raise ValueError(f"its observations lack {' and '.join(missing)}")


def hidden_weights(component: object, given: Iterable[object] = ()) -> str | None:
    """The attribute of a plain class that holds weights of its own (not ``given`` ones); None for modules, which have them registered."""
    if isinstance(component, nn.Module):
        return None
    known = {id(each) for each in given}
    for name, value in getattr(component, "__dict__", {}).items():
        held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
        for each in held:
            weights = each.state_dict() if isinstance(each, nn.Module) else isinstance(each, nn.Parameter)
            if weights and id(each) not in known:
                return name
    return None


def measure_width(encoder: nn.Module, frames: FrameShape, device: str, dtype: torch.dtype = torch.uint8) -> int:
    """D, by one fake forward (which also gives lazy modules their shapes).

    Raises:
        ValueError: The encoder's output is not float [*, D].
    """
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"an encoder is a torch.nn.Module with forward(pixels); {type(encoder).__name__} is none")
    noise = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 1, *frames), generator=noise, device="cpu").to(device, dtype)
    with only_looking(encoder):
        s_x = encoder(pixels)
    if not (isinstance(s_x, torch.Tensor) and s_x.is_floating_point() and s_x.ndim == 3 and s_x.shape[:2] == (2, 1)):
        found = f"{s_x.dtype} {list(s_x.shape)}" if isinstance(s_x, torch.Tensor) else type(s_x).__name__
        raise ValueError(
            f"for pixels {str(dtype).removeprefix('torch.')} {list(pixels.shape)} (any leading dimensions, then K, C, H, W) "
            f"the encoder must return float [2, 1, D]; it returned {found}"
        )
    if not s_x.isfinite().all():
        raise ValueError("for random pixels the encoder returned numbers that are not finite")
    return s_x.shape[-1]


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
    except (RecipeError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a component that leaves by sys.exit, too
        foreseen = isinstance(error, (UserError, ValueError))
        message = str(error) if foreseen else f"{type(error).__name__}: {error}"
        frames = list(traceback.walk_tb(error.__traceback__))[::-1]
        path = next((places[id(frame.f_locals.get("self"))] for frame, _ in frames if id(frame.f_locals.get("self")) in places), path)
        theirs = [(frame, line) for frame, line in frames if not frame.f_code.co_filename.startswith(NOT_THE_USERS)]
        if theirs and (places or not foreseen):
            message += f" ({Path(theirs[0][0].f_code.co_filename).name}, line {theirs[0][1]})"
        field = f"{path}.{message.partition(' ')[0]}"  # "patch 7 does not divide ...": point at the patch
        raise recipe.error(field if recipe.origin(field) else path, message) from error

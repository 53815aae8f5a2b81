"""Builds a recipe's components in order; each constructor gets the context that its parameters name."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torchrl.envs import EnvBase

from jepakit import registry
from jepakit.components.encoders.simnorm import SimNorm
from jepakit.components.shared import ranks
from jepakit.components.shared.frozen import freeze
from jepakit.components.targets.frozen import Frozen
from jepakit.diagnostics.embedding import only_looking
from jepakit.machine.generators import seed_everything
from jepakit.machine.group import seed_of_rank
from jepakit.machine.hardware import Hardware, usable_cores
from jepakit.protocols import (
    EPISODE_LENGTH,
    EPISODE_RETURN,
    PIXELS,
    Distractible,
    Distraction,
    Env,
    Experience,
    FrameShape,
    OffPolicyAlgorithm,
    Source,
)
from jepakit.storage.unsaved import unsaved
from jepakit.storage.weights import Part, begin_with, own_weights
from jepakit.training.blame import Blame
from jepakit.training.experience.recorded import Recorded
from jepakit.training.experience.replay import Replay
from jepakit.training.learner import Learner
from jepakit.training.monitoring.diagnoses import Diagnoses, Named
from jepakit.training.monitoring.quiet import same_generators
from jepakit.training.terms import JEPA, Headed, ProjectedEncoder, WeightedTerm
from jepakit.training.update.bonus import Bonus, ReturnScale, distance_of

if TYPE_CHECKING:
    from jepakit.recipe import Recipe
    from jepakit.recipe.schema import Jepa
    from jepakit.registry import BegunFields, CuriosityFields, TermFields

FORMED_HERE = ("encoder", "projector")  #: slots whose components are called here, which gives lazy layers their weights
PREDICTED = ("s_y_hat", "s_y", "s_hat")  #: term inputs that exist only with JEPA


def build_env(recipe: Recipe) -> EnvBase:
    """Build the recipe's environment and check that it yields pixels.

    Raises:
        RecipeError: The env can't be built as the recipe says.
    """
    blame = Blame(recipe)
    processes = usable_cores() if recipe.processes == "auto" else recipe.processes
    with blame.at("processes"):
        if recipe.processes != 1 and "processes" not in recipe.env.component.context:
            raise ValueError(f"the env `{recipe.env.kind}` steps its simulators in one process: write `processes: 1`")
    with blame.at("env"):
        env = registry.build("env", recipe.env, seed=recipe.seed, processes=processes)
        _check_env(env)
    if recipe.distractions:
        _distract(env, recipe, blame)
    return env


def build_learner(
    recipe: Recipe,
    env: EnvBase,
    hardware: Hardware,
    replay_folder: Path | None = None,
    blame: Blame | None = None,
    source: Source | None = None,
) -> Learner:
    """Build every trained part, initialised from the recipe's seed.

    Each part draws its initial weights from its own seed, derived from the recipe's seed and the part's name. Removing one part from a
    recipe therefore leaves the initial weights of the others unchanged.

    Args:
        recipe: The recipe to build.
        env: The recipe's env, for its frames and actions.
        hardware: Device and precision.
        replay_folder: Folder for the files of a memory-mapped replay.
        blame: Records each component's place in the recipe.
        source: Recorded data to learn from; None: what the env yields.

    Raises:
        RecipeError: A component can't be built as the recipe says; the error points at that component.
    """
    blame = blame or Blame(recipe)
    context: dict[str, Any] = {"frames": env.frame_shape, "action_spec": env.single_action_spec}

    def part(slot: str, path: str, config: Any, name: str = "", **other: Any) -> Any:
        with blame.at(path), torch.device(hardware.device):
            seed_everything(zlib.crc32(f"{recipe.seed} {name or path}".encode()))
            component = registry.build(slot, config, **context | other)
            if why := unsaved(component, (*context.values(), *other.values()), may_be_lazy=slot in FORMED_HERE):
                raise ValueError(why)
            blame.knows(component, path)
            return component.to(hardware.device) if isinstance(component, nn.Module) else component

    def terms(slot: str, path: str, configs: Sequence[TermFields]) -> dict[str, WeightedTerm]:
        made = {}
        for i, config in enumerate(configs):
            loss = part(slot, f"{path}.{i}", config, name=f"{path}.{config.kind}")
            with blame.at(f"{path}.{i}"):
                term = made[f"{slot}/{config.kind}"] = WeightedTerm(loss, config.weight)
                lacking = [] if jepa else [name for name in term.inputs if name in PREDICTED]
                if lacking:
                    raise ValueError(f"kind needs `{lacking[0]}`, a part of L_JEPA, but this recipe has `jepa: null`")
        return made

    encoder = part("encoder", "encoder", recipe.encoder)
    with blame.at("encoder"), hardware.autocast():
        width = measure_width(encoder, env.frame_shape, hardware.device, env.observation_spec[PIXELS].dtype)
        if recipe.encoder.simnorm:
            encoder = nn.Sequential(encoder, SimNorm(width, recipe.encoder.simnorm))
        _begin(encoder, "encoder", recipe.encoder, recipe)
    context |= {"encoder": encoder, "embedding_width": width}
    jepa = _build_jepa(recipe, recipe.jepa, part, encoder, width, hardware.device) if recipe.jepa else None
    augmentations = [part("augmentation", f"augmentations.{i}", config) for i, config in enumerate(recipe.augmentations)]
    for i, augmentation in enumerate(augmentations):
        if isinstance(augmentation, nn.Module) and any(each.requires_grad for each in augmentation.parameters()):
            raise recipe.error(f"augmentations.{i}", "it has parameters, and augmentations are not trained: write buffers")
    losses = terms("regularizer", "regularizers", recipe.regularizers) | terms("auxiliary", "auxiliary", recipe.auxiliary)
    algorithm = part("algorithm", "algorithm", recipe.algorithm)
    _expect_one_process(recipe, algorithm)
    if recipe.jepa and jepa and jepa.s_y_per == "batch":
        pixels = torch.zeros(1, 1, *env.frame_shape, dtype=env.observation_spec[PIXELS].dtype, device=hardware.device)
        _expect_s_y_once(recipe, recipe.jepa.target.kind, algorithm, jepa, pixels)
    curiosity = _build_curiosity(recipe.curiosity, part, blame, env, encoder, jepa, hardware) if recipe.curiosity else None
    replay: Experience | None = None
    if source:
        horizon = recipe.jepa.horizon if recipe.jepa else 1
        with blame.at("source"):
            replay = Recorded(source, algorithm, horizon, env.frame_shape, env.single_action_spec, env.batch_size[0], hardware.device)
    elif isinstance(algorithm, OffPolicyAlgorithm):
        replay = build_replay(recipe, algorithm, env, hardware, replay_folder)
    with blame.at("optimizer"):
        learner = Learner(
            encoder=encoder,
            embedding_width=width,
            jepa=jepa,
            terms=losses,
            augmentations=augmentations,
            algorithm=algorithm,
            curiosity=curiosity,
            replay=replay,
            hardware=hardware,
            **recipe.optimizer.model_dump(),
        )
    ranks.share_batch_norms(learner.parts)
    seed_everything(seed_of_rank(recipe.seed))
    return learner


def _build_jepa(recipe: Recipe, config: Jepa, part: Callable[..., Any], encoder: nn.Module, width: int, device: str) -> JEPA:
    projector = part("projector", "jepa.projector", config.projector) if config.projector else None
    if projector:
        width = projector(torch.zeros(1, width, device=device)).shape[-1]
    followed = ProjectedEncoder(encoder, projector) if projector else encoder
    if config.prediction_head:
        head = part("projector", "jepa.prediction_head", config.prediction_head, embedding_width=width)
        if (found := head(torch.zeros(1, width, device=device)).shape[-1]) != width:
            raise recipe.error("jepa.prediction_head", f"it turns {width} entries into {found}; what it predicts has {width}")
        projector = Headed(projector, head)
    target = part("target", "jepa.target", config.target, encoder=followed)
    _expect_untrained(recipe, target, followed)
    predictor = part("predictor", "jepa.predictor", config.predictor)
    blame = Blame(recipe)
    with blame.at("jepa.target"):
        if config.target.checkpoint:
            _begin(held := own_weights(target, encoder), "encoder", config.target, recipe)
            if isinstance(target, Frozen):
                freeze(held, statistics=True)  # one fixed function
    with blame.at("jepa.predictor"):
        _begin(predictor, "predictor", config.predictor, recipe)
    return JEPA(
        target=target,
        followed=followed,
        predictor=predictor,
        objective=part("objective", "jepa.objective", config.objective, embedding_width=width),
        projector=projector,
        weight=config.weight,
        horizon=config.horizon,
        y=config.y,
        s_y_per=config.s_y_per,
    )


def _expect_untrained(recipe: Recipe, target: object, followed: nn.Module) -> None:
    """Refuse a target that has weights to train: no optimizer has them, so they would stay as they are.

    Raises:
        RecipeError: It has some.
    """
    shared = {id(parameter) for parameter in followed.parameters()}
    for name, parameter in target.named_parameters() if isinstance(target, nn.Module) else ():
        if parameter.requires_grad and id(parameter) not in shared:
            advice = "copy the encoder with copy.deepcopy(encoder).requires_grad_(False)"
            raise recipe.error("jepa.target", f"its `{name}` requires a gradient, and targets are not trained", advice)


def _expect_one_process(recipe: Recipe, algorithm: Any) -> None:
    """Refuse, with several ranks, what only one process can hold.

    Raises:
        RecipeError: The recipe has such a part.
    """
    alone = {
        "algorithm.kind": isinstance(algorithm, OffPolicyAlgorithm) and (f"`{recipe.algorithm.kind}` learns from replay", "`ppo`"),
        "curiosity": recipe.curiosity and ("it scales surprises by all that this process has seen", "`curiosity: null`"),
        "source": recipe.source and ("recorded data are read by one process", "`source: null`"),
        "collector.kind": not recipe.acts_in_process
        and (f"`{recipe.collector.kind}` has workers of its own", "`direct`, where each rank acts for itself"),
    }
    for path, found in alone.items():
        if found and ranks.size() > 1:
            raise recipe.error(path, f"{found[0]}, which {ranks.size()} ranks cannot share", f"{found[1]}, or no torchrun")


def _expect_s_y_once(recipe: Recipe, target: str, algorithm: Any, jepa: JEPA, pixels: torch.Tensor) -> None:
    """Refuse to encode s_y once for a batch where every update needs its own.

    Raises:
        RecipeError: The recipe has such a part.
    """
    with only_looking(jepa.followed), only_looking(cast(nn.Module, jepa.target)), torch.enable_grad():
        trained = jepa.target(jepa.seen(pixels)).requires_grad
    why = {
        "learns from replay, which has no such batch": isinstance(algorithm, OffPolicyAlgorithm) or recipe.source is not None,
        "draws `augmentations` anew at each update": bool(recipe.augmentations),
        "has `y: same`, which is another view of x": jepa.y == "same",
        f"trains the target `{target}`, with gradients through s_y": trained,
    }
    for reason, holds in why.items():
        if holds:
            raise recipe.error("jepa.s_y_per", f"s_y cannot be encoded once for a batch, because this recipe {reason}", "`s_y_per: update`")


def _build_curiosity(
    config: CuriosityFields, part: Callable[..., Any], blame: Blame, env: EnvBase, encoder: nn.Module, jepa: JEPA | None, hardware: Hardware
) -> Bonus:
    curiosity = part("curiosity", "curiosity", config)
    scale = ReturnScale(env.batch_size[0], config.gamma, config.episodic, config.memory)
    with blame.at("curiosity"):
        distance = distance_of(jepa, encoder, hardware) if jepa else None
        return Bonus(config.kind, curiosity, config.weight, scale, distance, hardware.device)


def _begin(module: Any, part: Part, fields: BegunFields, recipe: Recipe) -> None:
    """Give a new part the weights of another run, and freeze it, as its fields say."""
    if fields.checkpoint:
        begin_with(module, part, Path(fields.checkpoint), recipe)
    if getattr(fields, "frozen", False):
        freeze(module, statistics=fields.checkpoint is not None)


def build_diagnostics(recipe: Recipe, env: EnvBase, learner: Learner, blame: Blame | None = None) -> Diagnoses:
    """Build the recipe's diagnostics. The random number generators stay as they are.

    Raises:
        RecipeError: One can't be built as the recipe says.
    """
    blame = blame or Blame(recipe)
    context = {"frames": env.frame_shape, "action_spec": env.single_action_spec, "embedding_width": learner.embedding_width}
    made: dict[str, Any] = {}
    with same_generators():
        for i, config in enumerate(recipe.diagnostics):
            with blame.at(f"diagnostics.{i}"):
                seed_everything(zlib.crc32(f"{recipe.seed} diagnostics.{config.kind}".encode()))
                built = registry.build("diagnostic", config, **context)
                made[config.kind] = built.to(learner.hardware.device) if isinstance(built, nn.Module) else built
                Named(config.kind, made[config.kind])  # refuses one that asks for what there is not
    return Diagnoses(made, learner, recipe.diagnostics_every)


def build_replay(recipe: Recipe, algorithm: OffPolicyAlgorithm, env: EnvBase, hardware: Hardware, folder: Path | None = None) -> Replay:
    """Build the recipe's replay, which allocates memory as it fills.

    Raises:
        RecipeError: The replay can't be built as the recipe says.
    """
    with Blame(recipe).at("replay"):
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


def _distract(env: Any, recipe: Recipe, blame: Blame) -> None:
    with blame.at("distractions"):
        if not isinstance(env, Distractible):
            raise ValueError(f"the env `{recipe.env.kind}` takes none: it has no `distractions`, as envs derived from `PixelEnv` have")
    made: list[Distraction] = []
    for i, config in enumerate(recipe.distractions):
        with blame.at(f"distractions.{i}"):
            seed = zlib.crc32(f"{recipe.seed} distractions.{i}".encode()) if i else recipe.seed  # of its own: draws must not go together
            made.append(registry.build("distraction", config, seed=seed, frames=env.frame_shape))
    env.distractions = made


def _check_env(env: Any) -> None:
    fits = isinstance(env, EnvBase) and isinstance(env, Env)
    if not fits:
        raise ValueError(f"{type(env).__name__} is not a TorchRL EnvBase with frame_shape, single_action_spec and seconds")
    pixels, expected = env.observation_spec[PIXELS], (*env.batch_size, *env.frame_shape)
    if pixels.dtype not in (torch.uint8, torch.float32) or pixels.shape != expected:
        raise ValueError(
            f"`{PIXELS}` must be uint8 (float32 for state vectors) {list(expected)} (N, K, C, H, W); "
            f"its spec says {pixels.dtype} {list(pixels.shape)}"
        )
    missing = [key for key in (EPISODE_RETURN, EPISODE_LENGTH) if key not in env.observation_spec]
    if missing:
        raise ValueError(f"its observations lack {' and '.join(missing)}")


def measure_width(encoder: nn.Module, frames: FrameShape, device: str, dtype: torch.dtype = torch.uint8) -> int:
    """Measure D with one forward pass on random pixels, which also initialises lazy modules.

    Raises:
        ValueError: The encoder's output is not float [*, D].
    """
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"an encoder must be a torch.nn.Module with forward(pixels); {type(encoder).__name__} is not")
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
        raise ValueError("for random pixels the encoder returned values that are not finite")
    return s_x.shape[-1]

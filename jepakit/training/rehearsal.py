"""A rehearsal: one fake batch through throw-away parts, so that a misfit is an error in the recipe rather than a failure at step 1."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torchrl.envs import EnvBase

from jepakit import registry
from jepakit.components.shared import ranks
from jepakit.diagnostics.finite import BadWeights
from jepakit.errors import shown
from jepakit.machine.hardware import Hardware
from jepakit.machine.memory import free_memory, in_words
from jepakit.protocols import PIXELS, Algorithm, OffPolicyAlgorithm
from jepakit.recipe.dump import flow
from jepakit.registry.signature import ComponentFields
from jepakit.storage.unsaved import changed, plain_state
from jepakit.storage.weights import edited_since
from jepakit.training.blame import Blame
from jepakit.training.build import build_diagnostics, build_learner, build_replay
from jepakit.training.collecting.build import build_collector
from jepakit.training.experience.replay import Replay
from jepakit.training.experience.sources import build_source, of_another_env
from jepakit.training.learner import Learner
from jepakit.training.monitoring.diagnoses import Diagnoses
from jepakit.training.monitoring.look import Look, Witness
from jepakit.training.monitoring.periodic_probes import check_state
from jepakit.training.monitoring.quiet import quietly
from jepakit.training.policy import Policy
from jepakit.training.state import weights

if TYPE_CHECKING:
    from jepakit.recipe import Recipe

REHEARSED_CAPACITY = 64  #: env steps of each env in a rehearsal's replay


def notices(recipe: Recipe, env: EnvBase, encoder: nn.Module | None = None) -> list[str]:
    """Settings that are valid but probably unintended. ``encoder`` is not changed."""
    found = []
    for path, kind, old_kind, values in recipe.dropped_fields():
        written = ", ".join(f"{name} {shown(flow(value))}" for name, value in values.items())
        found.append(f"`{path}.kind: {kind}` begins with its own defaults; not taken over from `{shown(old_kind)}`: {written}")
    if encoder and not _is_one_function(encoder, env.fake_tensordict()[PIXELS]):
        found.append(
            "the encoder's s_x differs between train() and eval() (batch normalisation, dropout): acting and learning must see the same"
        )
    begun: list[tuple[str, ComponentFields, str | None]] = [("encoder", recipe.encoder, recipe.encoder.checkpoint)]
    if recipe.jepa:
        begun += [("jepa.predictor", recipe.jepa.predictor, recipe.jepa.predictor.checkpoint)]
        begun += [("jepa.target", recipe.encoder, recipe.jepa.target.checkpoint)]
    for place, part, checkpoint in begun:
        if checkpoint and edited_since(part, Path(checkpoint)):
            found.append(f"`{place}.checkpoint` holds weights of a run that began with other code of `{part.kind}`: it was edited since")
    jepa = recipe.jepa and recipe.jepa.weight > 0
    held = any(config.weight > 0 for config in recipe.regularizers)
    taught = recipe.learns and getattr(recipe.algorithm, "gradients_to_encoder", True)
    reached = held or taught or any(config.weight > 0 for config in recipe.auxiliary)
    if not (jepa or reached or recipe.encoder.frozen or recipe.encoder.checkpoint):
        found.append("no loss term reaches the encoder: it keeps its random weights")
    contrasts = recipe.jepa and getattr(recipe.jepa.objective.component.cls, "compares_rows", False)
    if recipe.jepa and jepa and recipe.jepa.target.kind == "online" and not contrasts and not held:
        found.append("with gradients through both encoders a constant embedding minimises L_JEPA: a regularizer prevents that")
    views = max(getattr(recipe.algorithm, "views", 1), getattr(recipe.algorithm, "next_views", 1))
    if (views > 1 or (recipe.jepa and recipe.jepa.y == "same")) and not recipe.augmentations:
        found.append("without augmentations all views of a stack are equal")
    if recipe.source and recipe.distractions:
        found.append("the distractions change the env's frames, not those of the source: nothing learns under them")
    whole = whole_batches(recipe, env)
    if whole != recipe.total_steps:
        found.append(f"total_steps {recipe.total_steps:,} is rounded up to whole batches: {whole:,}")
    starts = getattr(recipe.algorithm, "learning_starts", 0)
    if recipe.source is None and starts > whole:
        found.append(f"learning_starts {starts:,} is not reached in {whole:,} env steps: nothing will be learned")
    return found


def whole_batches(recipe: Recipe, env: EnvBase) -> int:
    """The env steps that a run makes: ``total_steps``, rounded up to whole batches of all ranks."""
    batch = int(getattr(recipe.algorithm, "rollout_steps", 1)) * env.batch_size[0] * ranks.size()
    return -(-recipe.total_steps // batch) * batch


@torch.no_grad()
def _is_one_function(encoder: nn.Module, pixels: Tensor) -> bool:
    """Whether ``encoder`` gives the same output in train and eval mode; leaves torch's generator unchanged."""
    tried = copy.deepcopy(encoder)
    parameter = next(iter(tried.parameters()), None)
    with torch.random.fork_rng():
        pixels = torch.randint(0, 256, pixels.shape).to(pixels.dtype)
        pixels = pixels if parameter is None else pixels.to(parameter.device)
        tried.train()
        learning = tried(pixels)
        tried.eval()
        return torch.allclose(learning, tried(pixels), rtol=1e-2, atol=1e-2)


class Rehearsed(NamedTuple):
    """What a rehearsal leaves."""

    learner: Learner  #: the throw-away parts, for inspection
    notices: list[str]  #: about what is valid, but probably unintended


def rehearse(recipe: Recipe, env: EnvBase, hardware: Hardware) -> Rehearsed:
    """Push one fake batch through throw-away parts, from policy to optimizer step, so that a run does not fail at step 1.

    Raises:
        RecipeError: A part does not fit; the error points at the component that raised, if it is known.
    """
    check_state(recipe, env)
    source = build_source(recipe, env)
    _check_purpose(recipe)
    small = recipe.replay.model_copy(update={"capacity": REHEARSED_CAPACITY * env.batch_size[0], "memory_map": False})
    blame = Blame(recipe)
    learner = build_learner(recipe.model_copy(update={"replay": small}), env, hardware, blame=blame)
    diagnoses = _build_the_rest(recipe, env, learner, blame)
    _check_sizes(recipe, env, hardware, learner.algorithm)

    witness = Witness(learner)
    before, names = plain_state(learner.parts), {*weights(learner)}
    pixels = _learn_once(recipe, env, learner, blame)
    if new := sorted({*weights(learner)} - names):
        owner = learner.parts.get_submodule(new[0].rpartition(".")[0])
        text = f"`{new[0]}` comes into being with the first batch, so no checkpoint could be loaded: register it when the part is made"
        raise recipe.error(blame.places.get(id(owner), "encoder"), text)
    restless = changed(before, plain_state(learner.parts))
    restless += [name for name in _restless_when_repeated(learner, blame) if name not in restless]
    look = Look(learner, pixels, witness, windows=2)
    restless += _restless_diagnostics(diagnoses, learner, look, blame)
    told = notices(recipe, env, learner.encoder) + of_another_env(recipe, source)
    if restless:
        told.append(f"{', '.join(restless)}: changes with use, but is in no `state_dict` and so in no checkpoint; a resumed run may differ")
    return Rehearsed(learner, told)


def _check_purpose(recipe: Recipe) -> None:
    """Refuse what can't be done without a simulator or without RL."""
    if not recipe.simulated and recipe.eval_every is not None:
        raise recipe.error("eval_every", f"in the env `{recipe.env.kind}` nothing can be played", "leave `eval_every` out")
    if not recipe.learns and not (recipe.jepa or recipe.regularizers or recipe.auxiliary):
        raise recipe.error("algorithm.kind", "nothing is learned: there is no RL, no JEPA, no regularizer and no auxiliary term")
    if not recipe.learns and recipe.curiosity:
        wrong = f"the algorithm `{recipe.algorithm.kind}` learns from no rewards: a bonus changes nothing"
        raise recipe.error("curiosity", wrong, "`curiosity: null`")


def _build_the_rest(recipe: Recipe, env: EnvBase, learner: Learner, blame: Blame) -> Diagnoses:
    """Build the components that are no part of the learner; return the diagnostics."""
    for i, config in enumerate(recipe.sinks):
        with blame.at(f"sinks.{i}"):
            registry.build("sink", config, folder=Path())
    if recipe.planner:
        with blame.at("planner"):
            registry.build("planner", recipe.planner, action_spec=env.single_action_spec)
    diagnoses = build_diagnostics(recipe, env, learner, blame)
    build_collector(recipe, env, learner.algorithm)
    return diagnoses


def _check_sizes(recipe: Recipe, env: EnvBase, hardware: Hardware, algorithm: Algorithm) -> None:
    """Refuse batches that hold too few rows, and a replay that has no room."""
    num_envs = env.batch_size[0] * ranks.size()
    _check_rows(recipe, num_envs, algorithm)
    if not isinstance(algorithm, OffPolicyAlgorithm):
        _check_rollout(recipe, num_envs, algorithm)
    elif not recipe.replay.memory_map:
        _check_memory(recipe, build_replay(recipe, algorithm, env, hardware))


def _learn_once(recipe: Recipe, env: EnvBase, learner: Learner, blame: Blame) -> Tensor:
    """Act twice on frames of noise and learn from that; return the batch's stacks [N·2, K, C, H, W], on the device.

    Raises:
        RecipeError: What is computed is not finite.
    """
    policy, device = Policy(learner), learner.hardware.device
    with blame.at("algorithm"):
        acted = [policy(env.fake_tensordict().exclude("action").to(device)) for _ in range(2)]
        batch = TensorDict.stack(acted, dim=1)  # [N, 2]
        for pixels in (batch[PIXELS], batch["next", PIXELS]):
            pixels.random_(0, 256)
        try:
            learner.learn(batch, progress=0.0)
            if not learner.updates:  # replay: the batch is smaller than learning_starts
                learner.update(learner.experience.sample())
        except BadWeights as error:
            raise recipe.error("optimizer.lr", str(error)) from error
        if learner.bad_updates:
            place = "optimizer.lr" if learner.updates else _place_of(recipe, learner.first_bad)  # after a good update, its step is to blame
            raise recipe.error(place, f"not finite in the first updates: {learner.first_bad}")
        stacks = batch[PIXELS].flatten(0, 1).to(device)
        with torch.no_grad():
            if not learner.encoder(stacks).isfinite().all():
                raise recipe.error("optimizer.lr", "after one update s_x is not finite", "a lower one")
    return stacks


def _restless_when_repeated(learner: Learner, blame: Blame) -> list[str]:
    """The state that changes between two passes over the same rows, with the same weights and draws.

    Some came into being with the first batch. What only keeps a part's last output stays the same.
    """
    with blame.at("algorithm"):
        minibatch, states = learner.experience.sample(), []
        for _ in range(2):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                learner.losses(minibatch)
            states.append(plain_state(learner.parts))
    return changed(*states)


def _restless_diagnostics(diagnoses: Diagnoses, learner: Learner, look: Look, blame: Blame) -> list[str]:
    """The state of diagnostics that changes as they look, and is in no ``state_dict``."""
    restless: list[str] = []
    for i, each in enumerate(diagnoses.named):
        unused = plain_state(each.diagnostic)
        with blame.at(f"diagnostics.{i}"), quietly(learner.parts):
            each.measure(look)
        restless += [f"{each.kind}.{name}" for name in changed(unused, plain_state(each.diagnostic))]
    return restless


def _place_of(recipe: Recipe, bad: str) -> str:
    """The place of the part that gave what is not finite, such as ``loss/regularizer/vicreg``."""
    for slot, path in (("regularizer", "regularizers"), ("auxiliary", "auxiliary")):
        for i, config in enumerate(getattr(recipe, path)):
            if re.search(rf"loss/{slot}/{re.escape(config.kind)}\b", bad):
                return f"{path}.{i}"
    return "jepa" if re.search(r"loss/jepa\b", bad) else "encoder" if bad.startswith("s_x") else "algorithm"


def _check_rows(recipe: Recipe, num_envs: int, algorithm: Algorithm) -> None:
    size = algorithm.minibatch_size
    if size is None and num_envs * algorithm.rollout_steps < 2:
        raise recipe.error("algorithm.rollout_steps", "the minibatch is the whole collected batch, a single row, and that has no variance")
    if size is not None and size < 2:
        raise recipe.error("algorithm", f"its minibatch_size is {size}; a single row has no variance")


def _check_rollout(recipe: Recipe, num_envs: int, algorithm: Algorithm) -> None:
    steps, wanted = algorithm.rollout_steps, algorithm.minibatch_size
    if recipe.jepa and recipe.jepa.horizon > steps:
        raise recipe.error("jepa.horizon", f"a horizon of {recipe.jepa.horizon} reaches beyond the {steps} steps of a rollout")
    if wanted is not None and num_envs * steps < wanted:
        text = f"minibatch_size {wanted} is more than a collected batch holds: {num_envs * steps} env steps"
        raise recipe.error("algorithm.minibatch_size", text)


def _check_memory(recipe: Recipe, replay: Replay) -> None:
    """Check now that the replay fits in memory: it would fill only after hours."""
    needed, free = sum(replay.sizes.values()), free_memory()
    if free is not None and needed > free:
        wrong = f"replay of {recipe.replay.capacity:,} env steps takes {in_words(needed)}, but {in_words(free)} are free"
        raise recipe.error("replay.capacity", wrong, "a smaller capacity, or `replay.memory_map: true` to keep frames in a file")

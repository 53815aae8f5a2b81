"""A rehearsal: one fake batch through throw-away parts, so that what does not fit is a mistake in the recipe, not a failure at step 1."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torchrl.envs import EnvBase

from jepakit.diagnostics.finite import BadWeights
from jepakit.machine.hardware import Hardware
from jepakit.machine.memory import free_memory, in_words
from jepakit.protocols import ACTION, PIXELS, Algorithm
from jepakit.training.build import blaming, build_learner, build_replay
from jepakit.training.experience.replay import Replay
from jepakit.training.learner import Learner
from jepakit.training.policy import Policy
from jepakit.training.terms import WeightedTerm, expect_shape, unroll

if TYPE_CHECKING:
    from jepakit.recipe import Recipe

REHEARSED_CAPACITY = 64  #: env steps of each env that a rehearsed replay holds


def notices(recipe: Recipe, env: EnvBase, encoder: nn.Module | None = None) -> list[str]:
    """What is legal, and may not be meant; ``encoder`` is left as it is."""
    found = []
    if encoder and not _is_one_function(encoder, env.fake_tensordict()[PIXELS]):
        found.append(
            "the encoder's s_x differs in train() and eval() (batch normalisation, dropout): acting and learning must see the same"
        )
    jepa = recipe.jepa and recipe.jepa.weight > 0
    held = any(config.weight > 0 for config in recipe.regularizers)
    reached = held or any(config.weight > 0 for config in recipe.auxiliary) or getattr(recipe.algorithm, "gradients_to_encoder", True)
    if not (jepa or reached):
        found.append("no trained term reaches the encoder: it keeps its random weights")
    if recipe.jepa and jepa and recipe.jepa.target.kind == "online" and recipe.jepa.objective.kind != "infonce" and not held:
        found.append("with gradients through both encoders a constant embedding is the least L_JEPA: a regularizer prevents that")
    batch = getattr(recipe.algorithm, "rollout_steps", 1) * env.batch_size[0]
    whole = -(-recipe.total_steps // batch) * batch
    if whole != recipe.total_steps:
        found.append(f"total_steps {recipe.total_steps:,} is rounded up to whole batches of {batch:,}: {whole:,}")
    return found


@torch.no_grad()
def _is_one_function(encoder: nn.Module, pixels: Tensor) -> bool:
    """Whether ``encoder`` makes the same of random ``pixels`` in either mode; no random number is drawn that others would miss."""
    tried = copy.deepcopy(encoder)
    parameter = next(iter(tried.parameters()), None)
    with torch.random.fork_rng():
        pixels = torch.randint(0, 256, pixels.shape).to(pixels.dtype)
        pixels = pixels if parameter is None else pixels.to(parameter.device)
        return torch.allclose(tried.train()(pixels), tried.eval()(pixels), rtol=1e-2, atol=1e-2)


def rehearse(recipe: Recipe, env: EnvBase, hardware: Hardware) -> Learner:
    """Push one fake batch through parts of its own, policy to optimizer step, so that a run does not fail at step 1.

    Returns:
        Those parts, to be looked at and thrown away.

    Raises:
        RecipeError: Some part does not fit; placed at the component whose code raised, where that can be told.
    """
    small = recipe.replay.model_copy(update={"capacity": REHEARSED_CAPACITY * env.batch_size[0], "memory_map": False})
    learner = build_learner(recipe.model_copy(update={"replay": small}), env, hardware)
    if learner.algorithm.minibatch_size < 2:
        raise recipe.error("algorithm", f"its minibatch_size is {learner.algorithm.minibatch_size}; one row has no variance")
    policy = Policy(learner)
    if not learner.off_policy:
        _check_rollout(recipe, env.batch_size[0], learner.algorithm)
    if learner.off_policy and not recipe.replay.memory_map:
        _check_memory(recipe, build_replay(recipe, learner.off_policy, env, hardware))
    with blaming(recipe, "algorithm", _places(learner)):
        acted = [policy(env.fake_tensordict().exclude("action").to(hardware.device)) for _ in range(2)]
        batch = TensorDict.stack(acted, dim=1)  # [N, 2]
        for pixels in (batch[PIXELS], batch["next", PIXELS]):
            pixels.random_(0, 256)
        _try_each_part(recipe, learner, batch.flatten())
        try:
            learner.learn(batch, progress=0.0)
            if not learner.updates:  # replay, before its algorithm would learn
                learner.update(learner.experience.sample())
        except BadWeights as error:
            raise recipe.error("optimizer.lr", str(error)) from error
    return learner


def _places(learner: Learner) -> dict[int, str]:
    """Where in the recipe each component stands, by its ``id``."""
    places = {id(module): "encoder" for module in learner.encoder.modules()} | {id(learner.algorithm): "algorithm"}
    if learner.jepa:
        places |= {id(getattr(learner.jepa, part)): f"jepa.{part}" for part in ("target", "predictor", "objective", "projector")}
    places |= {id(augmentation): f"augmentations.{i}" for i, augmentation in enumerate(learner.augmentations)}
    places |= {id(term.loss): path for path, term in _terms(learner)}
    places.pop(id(None), None)  # a part that is not there, and the `self` of every function
    return places


def _terms(learner: Learner) -> Iterator[tuple[str, WeightedTerm]]:
    """Regularizers and auxiliary terms by their place in the recipe."""
    for slot, path in (("regularizer", "regularizers"), ("auxiliary", "auxiliary")):
        terms = [term for name, term in learner.terms.items() if name.startswith(f"{slot}/")]
        yield from ((f"{path}.{i}", term) for i, term in enumerate(terms))


def _check_rollout(recipe: Recipe, num_envs: int, algorithm: Algorithm) -> None:
    steps, wanted = algorithm.rollout_steps, algorithm.minibatch_size
    if recipe.jepa and recipe.jepa.horizon > steps:
        raise recipe.error("jepa.horizon", f"a horizon of {recipe.jepa.horizon} reaches beyond the {steps} steps of a rollout")
    if num_envs * steps < wanted:
        text = f"minibatch_size {wanted} is more than a collected batch holds: {num_envs * steps} env steps"
        raise recipe.error("algorithm.minibatch_size", text)


def _check_memory(recipe: Recipe, replay: Replay) -> None:
    """A replay fills over hours: better to learn now than then that it does not fit."""
    needed, free = sum(replay.sizes.values()), free_memory()
    if free is not None and needed > free:
        wrong = f"replay of {recipe.replay.capacity:,} env steps takes {in_words(needed)}, and {in_words(free)} are free"
        raise recipe.error("replay.capacity", wrong, "a smaller capacity, or `replay.memory_map: true` for files in its place")


def _try_each_part(recipe: Recipe, learner: Learner, steps: TensorDictBase) -> None:
    """Each part of L_JEPA and each term by itself on ``steps`` [B], so that a mistake is placed at the part that made it."""
    pixels = steps[PIXELS]
    for i, augmentation in enumerate(learner.augmentations):
        with blaming(recipe, f"augmentations.{i}"):
            pixels = augmentation(pixels)
            expect_shape("augmentation", pixels, steps[PIXELS].shape)
    s_x = learner.embed(pixels)  # [B, D]
    inputs = {"s_x": s_x, "s_x_next": s_x, "pixels": pixels, "action": steps[ACTION], "reward": steps["next", "reward"]}
    if jepa := learner.jepa:
        with blaming(recipe, "jepa.predictor"):
            expect_shape("predictor", unroll(jepa.predictor, s_x, steps[ACTION][:, None]), (len(s_x), 1, learner.embedding_width))
        s_y_hat = jepa.projected(unroll(jepa.predictor, s_x, steps[ACTION][:, None]))
        with blaming(recipe, "jepa.target"):
            s_y = jepa.target(pixels[:, None])
            expect_shape("target", s_y, s_y_hat.shape)
        inputs |= {"s_y_hat": s_y_hat[:, 0], "s_y": s_y[:, 0].float()}
        with blaming(recipe, "jepa.objective"):
            expect_shape("objective", jepa.objective(inputs["s_y_hat"], inputs["s_y"]), s_x.shape[:1])
    for path, term in _terms(learner):
        with blaming(recipe, path):
            missing = [name for name in term.inputs if name not in inputs]
            if missing:
                raise ValueError(f"kind needs `{missing[0]}`, a part of L_JEPA, and this recipe has `jepa: null`")
            expect_shape("term", term.loss(**{name: inputs[name] for name in term.inputs}), ())

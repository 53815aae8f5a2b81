"""For each rule of the conformance kit, a component that breaks only that rule."""

from __future__ import annotations

import copy
import random
import threading
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchrl.envs.utils import ExplorationType, exploration_type

from jepakit import registry
from jepakit.errors import UserError
from jepakit.protocols import Term
from jepakit.registry import load_builtins, register, table
from jepakit.testing import NonConformant, check_component
from jepakit.testing.component import CHECKS

SMALL = {"frame_shapes": [(2, 1, 6, 8), (3, 2, 8, 6)]}
BROKEN: list[Any] = []


def breaks(slot: str, rule: str, *words: str) -> Any:
    """Mark a class that breaks only ``rule`` of ``slot``. The message about it must contain ``words``."""

    def note(cls: type) -> type:
        BROKEN.append(pytest.param(slot, cls, rule, words, id=f"{slot}-{cls.__name__}"))
        return cls

    return note


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    load_builtins()
    monkeypatch.setattr(table, "_table", dict(table._table))


def broken(slot: str, cls: type, **fields: Any) -> dict[str, str]:
    """The kit's messages about ``cls``, by rule."""
    register(slot, "mine")(cls)
    try:
        check_component(slot, cls, **({} if slot == "env" else SMALL), **fields)
    except NonConformant as error:
        return error.broken
    return {}


# Encoders


class SoundEncoder(nn.Module):
    def __init__(self, frames: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(torch.Size(frames).numel(), 5)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.embed(pixels.flatten(-4).float() / 255)

    def embed(self, x: Tensor) -> Tensor:
        return self.linear(x)


@breaks("encoder", "construction", "KeyError")
class RaisesKeyError(SoundEncoder):
    def __init__(self, frames: Any) -> None:
        raise KeyError(frames)


@breaks("encoder", "construction", "refuses all", "frame_shapes")
class RefusesAll(SoundEncoder):
    def __init__(self, frames: Any) -> None:
        raise ValueError("frames of 84x84 only")


@breaks("encoder", "output", "float [2, 1, D]")
class LeavesPatches(SoundEncoder):
    def embed(self, x: Tensor) -> Tensor:
        return self.linear(x)[..., None]


@breaks("encoder", "output", "not finite")
class NotFinite(SoundEncoder):
    def embed(self, x: Tensor) -> Tensor:
        return self.linear(x) / 0


@breaks("encoder", "output", "ValueError")
class FailsAtAFrame(SoundEncoder):
    def embed(self, x: Tensor) -> Tensor:
        raise RuntimeError("kernel larger than image; ValueError")


@breaks("encoder", "leading dimensions", "unflatten", "test_rules.py, line")
class OneLeadingDimension(SoundEncoder):
    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels.flatten(0, -5)).unflatten(0, pixels.shape[: min(2, pixels.ndim - 4)])


@breaks("encoder", "one function", "among others")
class BatchStatistics(SoundEncoder):
    def embed(self, x: Tensor) -> Tensor:
        s_x = self.linear(x)
        return s_x - s_x.flatten(0, -2).mean(dim=0)


@breaks("encoder", "one function", "train()", "dropout")
class Dropout(SoundEncoder):
    def embed(self, x: Tensor) -> Tensor:
        return F.dropout(self.linear(x), training=self.training)


@breaks("encoder", "bf16", "dtype")
class OneDtype(SoundEncoder):
    def embed(self, x: Tensor) -> Tensor:
        s_x = self.linear(x)
        return torch.lerp(s_x, torch.ones(5, device=s_x.device), 0.5)


@breaks("encoder", "gradients", "no gradient at all")
class Detached(SoundEncoder):
    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        return self.linear(x)


@breaks("encoder", "gradients", "`unused.weight`")
class Unused(SoundEncoder):
    def __init__(self, frames: Any) -> None:
        super().__init__(frames)
        self.unused = nn.Linear(2, 2, bias=False)


@breaks("encoder", "gradients", "`linear.weight` is not finite")
class InfiniteGradient(SoundEncoder):
    def embed(self, x: Tensor) -> Tensor:
        return self.linear(x) + (self.linear.weight * 0).sum().sqrt()


@breaks("encoder", "inputs", "`pixels`")
class WritesIntoPixels(SoundEncoder):
    def forward(self, pixels: Tensor) -> Tensor:
        s_x = super().forward(pixels)
        pixels[0] = 0
        return s_x


@breaks("encoder", "deepcopy", "lock")
class HoldsALock(SoundEncoder):
    def __init__(self, frames: Any) -> None:
        super().__init__(frames)
        self.lock = threading.Lock()


@breaks("encoder", "deepcopy", "of the original")
class HoldsALambda(SoundEncoder):
    def __init__(self, frames: Any) -> None:
        super().__init__(frames)
        self.head = lambda x: self.linear(x)

    def embed(self, x: Tensor) -> Tensor:
        return self.head(x)


# Targets


class SoundTarget(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.encoder(pixels)

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        self.encoder.load_state_dict(encoder.state_dict())


@breaks("target", "state_dict", "`count`", "not a buffer")
class CountsInAnInteger(SoundTarget):
    """The counter takes effect long after the calls that are compared."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder)
        self.count = 0

    def update(self, encoder: nn.Module) -> None:
        self.count += 1
        if self.count % 200 == 0:
            super().update(encoder)


@breaks("target", "output", "[1, 1, 64]")
class ExtraDimension(SoundTarget):
    def forward(self, pixels: Tensor) -> Tensor:
        return self.encoder(pixels)[..., None, :]


@breaks("target", "weights", "encoder.linear.weight", "deepcopy")
class AsksForGradients(SoundTarget):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder)
        self.encoder.requires_grad_(True)


@breaks("target", "weights", "froze the online encoder")
class FreezesTheOnlineEncoder(SoundTarget):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder.requires_grad_(False))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.encoder(pixels)


@breaks("target", "update", "online encoder's `linear.weight`")
class WritesIntoTheOnlineEncoder(SoundTarget):
    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        for mine, online in zip(self.encoder.parameters(), encoder.parameters(), strict=True):
            online.copy_(mine)


@breaks("target", "schedule", "ZeroDivisionError")
class AnnealFails(SoundTarget):
    def anneal(self, progress: float) -> None:
        self.tau = 1 / progress


@breaks("target", "state_dict", "KeyError", "checkpoint")
class ForgetsItsEncoder(SoundTarget):
    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {name.replace("encoder.", "other."): tensor for name, tensor in super().state_dict(*args, **kwargs).items()}

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        raise KeyError("encoder") from None


# Predictors


class SoundPredictor(nn.Module):
    def __init__(self, embedding_width: int, action_spec: Any) -> None:
        super().__init__()
        self.discrete = hasattr(action_spec.space, "n")
        self.linear = nn.Linear(embedding_width + (3 if self.discrete else 2), embedding_width)

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        a = F.one_hot(action, 3) if self.discrete else action
        return self.linear(torch.cat((s_x, a.to(s_x.dtype)), dim=-1))


@breaks("predictor", "state_dict", "is not a torch.nn.Module", "`linear`")
class HoldsWeightsUnregistered:
    def __init__(self, embedding_width: int) -> None:
        self.linear = nn.Linear(embedding_width, embedding_width)

    def __call__(self, s_x: Tensor, action: Tensor) -> Tensor:
        return self.linear(s_x)


@breaks("predictor", "state_dict", "write torch.nn.ModuleList", "`further`")
class HoldsWeightsInAList(SoundPredictor):
    def __init__(self, embedding_width: int, action_spec: Any) -> None:
        super().__init__(embedding_width, action_spec)
        self.further = [nn.Linear(2, 2)]


@breaks("predictor", "output", "int64 [2]", "float")
class ReturnsAnIndex(SoundPredictor):
    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        return super().forward(s_x, action).argmax(dim=-1)


@breaks("predictor", "output", "continuous actions")
class DiscreteAlone(SoundPredictor):
    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        return self.linear(torch.cat((s_x, F.one_hot(action, 3).to(s_x.dtype)), dim=-1))


@breaks("predictor", "construction", "refuses all continuous actions", "say in the message")
class RefusesWithoutReason(SoundPredictor):
    def __init__(self, embedding_width: int, action_spec: Any) -> None:
        super().__init__(embedding_width, action_spec)
        if not self.discrete:
            raise ValueError("no")


@breaks("predictor", "unroll", "before an action")
class LooksAhead(SoundPredictor):
    def unroll(self, s_x: Tensor, actions: Tensor) -> Tensor:
        steps = torch.stack([self(s_x, action) for action in actions.unbind(1)], dim=1)
        return steps + steps.mean(dim=1, keepdim=True)


@breaks("predictor", "gradients", "`s_x`")
class DetachesSX(SoundPredictor):
    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        return super().forward(s_x.detach(), action)


@breaks("predictor", "devices", "meta")
class NewTensorOnTheCPU(SoundPredictor):
    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        return super().forward(torch.cat((s_x[:1], torch.zeros(len(s_x) - 1, s_x.shape[-1])), dim=0) + s_x, action)


@breaks("predictor", "devices", "`scales`", "register_buffer")
class UnregisteredTensor(SoundPredictor):
    def __init__(self, embedding_width: int, action_spec: Any) -> None:
        super().__init__(embedding_width, action_spec)
        self.scales = [torch.ones(1)]


@breaks("predictor", "devices", "returns a tensor on cpu")
class ReturnsToTheCPU(SoundPredictor):
    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        s_y_hat = super().forward(s_x, action)
        return torch.zeros(s_y_hat.shape) if s_y_hat.is_meta else s_y_hat


@breaks("predictor", "state_dict", "apart")
class DrawnAndForgotten(SoundPredictor):
    def __init__(self, embedding_width: int, action_spec: Any) -> None:
        super().__init__(embedding_width, action_spec)
        self.register_buffer("directions", torch.randn(embedding_width), persistent=False)

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        return super().forward(s_x, action) * self.directions


@breaks("predictor", "state_dict", "`dice`", "not a buffer")
class DrawsFromItsOwn(SoundPredictor):
    def __init__(self, embedding_width: int, action_spec: Any) -> None:
        super().__init__(embedding_width, action_spec)
        self.dice = random.Random(0)

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        return super().forward(s_x, action) * self.dice.uniform(0.9, 1.1)


# Objectives and projectors


@breaks("objective", "output", "[2]")
class AveragesTheBatch(nn.Module):
    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        return (s_y_hat - s_y).square().mean()


@breaks("objective", "output", "[7, 4]")
class NoTokens(nn.Module):
    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        return (s_y_hat - s_y).square().flatten(1).sum(dim=1)


@breaks("objective", "finite", "gradient", "ε")
class RootOfZero(nn.Module):
    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        return (s_y_hat - s_y).square().sum(dim=-1).sqrt()


@breaks("objective", "finite", "all zero")
class CosineOfZero(nn.Module):
    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        return -(s_y_hat * s_y).sum(dim=-1) / s_y.square().sum(dim=-1)


@breaks("objective", "gradients", "`s_y_hat`")
class WrongSide(nn.Module):
    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        return (s_y_hat.detach() - s_y).square().sum(dim=-1) + 0 * s_y_hat.sum()


@breaks("projector", "output", "[7, 3")
class TwoDimensionsOnly(nn.Module):
    def __init__(self, embedding_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_width, 3)

    def forward(self, s: Tensor) -> Tensor:
        return self.linear(s)[:, :3] if s.ndim == 2 else self.linear(s.flatten(0, -2))


# Regularizers and auxiliary terms


@breaks("regularizer", "output", "asks for `embedding`")
class UnknownInput(nn.Module):
    def forward(self, embedding: Tensor) -> Tensor:
        return embedding.mean()


@breaks("regularizer", "output", "float32 []")
class NoScalar(nn.Module):
    def forward(self, s_x: Tensor) -> Tensor:
        return s_x.var(dim=0)


@breaks("regularizer", "finite", "all the same")
class LogOfZero(nn.Module):
    def forward(self, s_x: Tensor) -> Tensor:
        return -s_x.var(dim=0).log().mean()


@breaks("auxiliary", "gradients", "`pixels` alone")
class LearnsNothing(nn.Module):
    def __init__(self, frames: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(torch.Size(frames).numel(), 1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.linear(pixels.flatten(1).float()).mean()


@breaks("auxiliary", "gradients", "`s_x` or `s_y_hat`")
class DetachesAll(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, s_x: Tensor, s_y_hat: Tensor) -> Tensor:
        return self.scale * (s_x.detach().mean() + s_y_hat.detach().mean())


# Augmentations


@breaks("augmentation", "output", "uint8", "float32")
class Floats(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels / 2


@breaks("augmentation", "one draw a stack", "K equal frames")
class ADrawAFrame(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels + torch.randint(0, 9, (*pixels.shape[:2], 1, 1, 1), device="cpu").to(pixels)


@breaks("augmentation", "a draw for each stack", "all alike")
class ADrawABatch(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels + torch.randint(0, 9, (1,), device="cpu").to(pixels)


@breaks("augmentation", "inputs", "`pixels`")
class InPlace(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.add_(torch.randint(1, 9, (len(pixels), 1, 1, 1, 1), device="cpu").to(pixels))


@breaks("augmentation", "determinism", "torch's global generator")
class PythonsRandom:
    def __call__(self, pixels: Tensor) -> Tensor:
        return pixels + torch.tensor([random.randrange(200) for _ in pixels], dtype=torch.uint8)[:, None, None, None, None]


# Algorithms


class SoundQ(nn.Module):
    """One-step Q-learning from replay."""

    rollout_steps, minibatch_size, gradients_to_encoder, gamma, n_step, learning_starts, updates_per_step = 1, 8, True, 0.9, 1, 8, 1.0

    def __init__(self, embedding_width: int, action_spec: Any, encoder: nn.Module) -> None:
        super().__init__()
        if not hasattr(action_spec.space, "n"):
            raise ValueError("kind needs discrete actions")
        self.q = nn.Linear(embedding_width, 3)
        self.bootstrap_encoder = copy.deepcopy(encoder).requires_grad_(False)

    def act(self, s_x: Tensor) -> Tensor:
        values = self.q(s_x)
        if exploration_type() == ExplorationType.DETERMINISTIC:
            return values.argmax(dim=-1)
        return values.softmax(dim=-1).flatten(0, -2).multinomial(1).reshape(values.shape[:-1])

    def policy_head(self) -> Any:
        return TensorDictModule(self.act, in_keys=["s_x"], out_keys=["action"])

    def losses(self, minibatch: Any) -> Any:
        with torch.no_grad():
            following = self.q(minibatch["next", "s_x"]).amax(dim=-1, keepdim=True) * ~minibatch["next", "terminated"]
            value_target = minibatch["next", "reward"] + self.gamma ** minibatch["steps_to_next_obs"] * following
        error = self.q(minibatch["s_x"]).gather(-1, minibatch["action"][:, None]) - value_target
        minibatch["td_error"] = error.detach().squeeze(-1)
        return {"q": Term(1.0, error.square().mean())}, {"q/error": error.detach().abs().mean()}

    def updated(self, encoder: nn.Module) -> None:
        self.bootstrap_encoder.load_state_dict(encoder.state_dict())

    def anneal(self, progress: float) -> None: ...


@breaks("algorithm", "protocol", "`learning_starts`")
class LacksAnAttribute(SoundQ):
    @property
    def learning_starts(self) -> int:  # type: ignore[override]
        raise AttributeError


@breaks("algorithm", "acting", "int64 [4]", "float32 [4, 3]")
class ActsInLogits(SoundQ):
    def act(self, s_x: Tensor) -> Tensor:
        return self.q(s_x)


@breaks("algorithm", "acting", "bounds")
class ActsOutOfBounds(SoundQ):
    def act(self, s_x: Tensor) -> Tensor:
        return super().act(s_x) + 3


@breaks("algorithm", "greedy", "two actions")
class AlwaysSamples(SoundQ):
    def act(self, s_x: Tensor) -> Tensor:
        return torch.randint(0, 3, s_x.shape[:-1], device=s_x.device)


@breaks("algorithm", "losses", "jepakit.Term")
class BareLosses(SoundQ):
    def losses(self, minibatch: Any) -> Any:
        terms, figures = super().losses(minibatch)
        return {name: term.loss for name, term in terms.items()}, figures


@breaks("algorithm", "losses", "`q/error`")
class LogsVectors(SoundQ):
    def losses(self, minibatch: Any) -> Any:
        terms, _ = super().losses(minibatch)
        return terms, {"q/error": minibatch["td_error"]}


@breaks("algorithm", "gradients", "`s_x`")
class LearnsFromDetached(SoundQ):
    def losses(self, minibatch: Any) -> Any:
        minibatch["s_x"] = minibatch["s_x"].detach()
        return super().losses(minibatch)


@breaks("algorithm", "gradients", "is detached")
class LearnsThroughTheEncoderAlone(SoundQ):
    def losses(self, minibatch: Any) -> Any:
        terms, figures = super().losses(minibatch)
        s_x = minibatch["s_x"]
        loss = terms["q"].loss
        return {"q": Term(1.0, loss if s_x.requires_grad else loss.detach() + 0 * self.q.weight.sum())}, figures


@breaks("algorithm", "bootstrap_encoder", "`linear.weight`", "trained")
class TrainsItsCopy(SoundQ):
    def __init__(self, embedding_width: int, action_spec: Any, encoder: nn.Module) -> None:
        super().__init__(embedding_width, action_spec, encoder)
        self.bootstrap_encoder.requires_grad_(True)


@breaks("algorithm", "update", "online encoder's `linear.weight`")
class FollowsBackwards(SoundQ):
    def updated(self, encoder: nn.Module) -> None:
        with torch.no_grad():
            next(encoder.parameters()).add_(1.0)


@breaks("algorithm", "update", "`updates`, which no checkpoint holds: keep it in a buffer")
class CountsUpdates(SoundQ):
    def __init__(self, embedding_width: int, action_spec: Any, encoder: nn.Module) -> None:
        super().__init__(embedding_width, action_spec, encoder)
        self.updates = 0

    def updated(self, encoder: nn.Module) -> None:
        super().updated(encoder)
        self.updates = self.updates + 1


@breaks("algorithm", "priorities", "td_error")
class NoPriorities(SoundQ):
    def losses(self, minibatch: Any) -> Any:
        return super().losses(minibatch.copy())


@breaks("algorithm", "schedule", "ZeroDivisionError")
class AnnealDivides(SoundQ):
    def anneal(self, progress: float) -> None:
        self.epsilon = 1 / (1 - progress)


# Envs: each is the template's env with one change


def env_with(**methods: Any) -> type:
    """The template's env with these methods replaced."""
    from jepakit.testing.templates.env import MyComponent

    return type("Mine", (MyComponent,), methods)


def not_cloned(self: Any) -> TensorDict:
    now = {"pixels": self.stacks.clone(), "episode_return": self.returns, "episode_length": self.lengths.clone()}
    return TensorDict(now, batch_size=self.batch_size)


def without_length(self: Any) -> TensorDict:
    now = {"pixels": self.stacks.clone(), "episode_return": self.returns.clone()}
    return TensorDict(now, batch_size=self.batch_size)


def scaled_floats(self: Any) -> TensorDict:
    now = {"pixels": self.stacks / 255, "episode_return": self.returns.clone(), "episode_length": self.lengths.clone()}
    return TensorDict(now, batch_size=self.batch_size)


def oldest_last(self: Any) -> TensorDict:
    now = {"pixels": self.stacks.flip(1), "episode_return": self.returns.clone(), "episode_length": self.lengths.clone()}
    return TensorDict(now, batch_size=self.batch_size)


def lengths_doubled(self: Any) -> TensorDict:
    now = {"pixels": self.stacks.clone(), "episode_return": self.returns.clone(), "episode_length": 2 * self.lengths}
    return TensorDict(now, batch_size=self.batch_size)


def resets_all(self: Any, tensordict: Any = None, **_: Any) -> Any:
    from jepakit.testing.templates.env import MyComponent

    return MyComponent._reset(self, None)


def ignores_its_seed(self: Any, seed: Any) -> None:
    self.generator = torch.Generator()
    self.generator.seed()


def refuses_to_close(self: Any, *, raise_if_closed: bool = True) -> None:
    if not raise_if_closed:
        raise RuntimeError("still open")


ENVS = {
    "protocol": ({"single_action_spec": property(lambda self: self.nothing)}, "`single_action_spec`"),
    "specs": ({"_observation": scaled_floats}, "uint8 [3, 3, 1, 8, 12] and is float32"),
    "specs ": ({"_observation": without_length}, "episode_length"),
    "fresh tensors": ({"_observation": not_cloned}, "`episode_return`"),
    "stacks": ({"_observation": oldest_last}, "older frames"),
    "episodes": ({"_observation": lengths_doubled}, "episode_length"),
    "reset": ({"_reset": resets_all}, "first env alone"),
    "close": ({"close": refuses_to_close}, "RuntimeError"),
    "seed": ({"_set_seed": ignores_its_seed}, "`pixels` after set_seed"),
}


@pytest.mark.parametrize("rule", ENVS)
def test_an_env_that_breaks_one_rule_fails_only_that_rule(rule: str) -> None:
    methods, word = ENVS[rule]
    found = broken("env", env_with(**methods), num_envs=3, size=[8, 12])
    assert list(found) == [rule.strip()]
    assert word in found[rule.strip()]


def hands_out_the_next_episode(self: Any, tensordict: Any) -> Any:
    """Returns the next episode's first stack in place of the last stack of an episode."""
    from jepakit.testing.templates.env import MyComponent

    after = MyComponent._step(self, tensordict)
    if after["done"].any():
        self._reset(TensorDict({"_reset": after["done"]}, batch_size=self.batch_size))
        after.update(self._observation())
    return after


def never_ends(self: Any, tensordict: Any) -> Any:
    from jepakit.testing.templates.env import MyComponent

    after = MyComponent._step(self, tensordict)
    return after.update({key: torch.zeros_like(after[key]) for key in ("done", "terminated", "truncated")})


@pytest.mark.parametrize(
    ("step", "rules", "word"),
    [(hands_out_the_next_episode, ["stacks", "episodes"], "episode_length"), (never_ends, ["episodes"], "no episode ended in 500 steps")],
)
def test_the_checks_wait_for_an_episode_to_end(step: Any, rules: list[str], word: str) -> None:
    """With frames this wide, no episode ends within the first steps."""
    found = broken("env", env_with(_step=step), num_envs=3, size=[8, 60])
    assert list(found) == rules
    assert word in found["episodes"]


def test_a_term_may_be_zero_for_all_but_small_embeddings() -> None:
    check_component("regularizer", "vicreg", **SMALL, gamma=0.03, covariance=0.0)


@pytest.mark.parametrize(("slot", "cls", "rule", "words"), BROKEN)
def test_a_component_that_breaks_one_rule_fails_only_that_rule(slot: str, cls: type, rule: str, words: tuple[str, ...]) -> None:
    found = broken(slot, cls)
    assert list(found) == [rule], found
    assert all(word in found[rule] for word in words), found


@pytest.mark.parametrize(
    ("slot", "cls"), [("encoder", SoundEncoder), ("target", SoundTarget), ("predictor", SoundPredictor), ("algorithm", SoundQ)]
)
def test_the_sound_components_break_no_rule(slot: str, cls: type) -> None:
    assert broken(slot, cls) == {}


def test_all_broken_rules_are_reported_at_once() -> None:
    class Worse(Unused):
        def __init__(self, frames: Any) -> None:
            super().__init__(frames)
            self.left_behind = torch.ones(5)

        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels) + torch.rand(5, device=pixels.device)

    register("encoder", "worse")(Worse)
    with pytest.raises(NonConformant, match=r"encoder `worse`.*breaks 3 rules") as caught:
        check_component("encoder", Worse, **SMALL)
    assert list(caught.value.broken) == ["one function", "gradients", "devices"]
    assert all(f"\n- {rule}: {text}" in str(caught.value) for rule, text in caught.value.broken.items())


def test_refusing_unsupported_actions_breaks_no_rule() -> None:
    class DiscreteOnly(SoundPredictor):
        def __init__(self, embedding_width: int, action_spec: Any) -> None:
            super().__init__(embedding_width, action_spec)
            if not self.discrete:
                raise ValueError("kind needs discrete actions")

    assert broken("predictor", DiscreteOnly) == {}


def test_fields_reach_the_component_as_from_a_recipe() -> None:
    given = []

    class WithFields(SoundEncoder):
        def __init__(self, frames: Any, *, sizes: tuple[int, ...] = (1,), deep: bool = False) -> None:
            super().__init__(frames)
            given.append((tuple(frames), sizes, deep))

    assert broken("encoder", WithFields, sizes=[2, 3], deep=True) == {}
    assert set(given) == {((2, 1, 6, 8), (2, 3), True), ((3, 2, 8, 6), (2, 3), True)}
    with pytest.raises(NonConformant, match=r"field `depth`: there is none of that name; did you mean `deep`\?"):
        check_component("encoder", WithFields, depth=3)


def test_the_checks_leave_torchs_global_state_unchanged() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    broken("encoder", SoundEncoder)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_an_unknown_component_is_a_user_error() -> None:
    class Unregistered(SoundEncoder):
        pass

    with pytest.raises(UserError, match="did you mean `encoder`"):
        check_component("encodr", "vit")
    with pytest.raises(UserError, match="did you mean `vit`"):
        check_component("encoder", "vitt")
    with pytest.raises(UserError, match="is not registered"):
        check_component("encoder", Unregistered)


def test_every_slot_has_its_rules() -> None:
    assert set(CHECKS) == set(registry.SLOTS)

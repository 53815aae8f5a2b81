"""What users' own components do that no component of jepakit does: runs train, resume and load all the same, or say what is wrong."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from gymnasium.envs.registration import EnvSpec
from torch import Tensor, nn

from jepakit import load_encoder, registry
from jepakit.agent.evaluate import evaluate
from jepakit.components.algorithms.ppo import PPO
from jepakit.components.encoders.vit import ViT
from jepakit.components.objectives.l2 import L2
from jepakit.errors import UserError
from jepakit.machine.hardware import Hardware
from jepakit.protocols import Term
from jepakit.recipe import RecipeError, load_recipe
from jepakit.registry import register
from jepakit.storage.checkpoint import load_tensors
from jepakit.testing import templates
from jepakit.training.build import build_env, build_learner
from jepakit.training.collecting.acting import RunActing
from jepakit.training.run import resume, run

RECIPE = """
env: {kind: gym, id: Diary-v0, num_envs: 2, size: null, max_episode_steps: 4}
encoder: {kind: vit, dim: 8, depth: 1, heads: 2, patch: 4}
algorithm: {kind: ppo, rollout_steps: 16, epochs: 2, minibatch_size: 8}
total_steps: 160
checkpoint_every: 64
keep_checkpoints: 9
threads: 1
"""


@pytest.fixture(autouse=True)
def _registers_for_one_test() -> Iterator[None]:
    yield
    registry.forget(lambda module: module == __name__)


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Path]:
    def train(*overrides: str, out: str = "out") -> Path:
        (tmp_path / "recipe.yaml").write_text(RECIPE)
        return run(tmp_path / "recipe.yaml", overrides=overrides, out=tmp_path / out, quiet=True).path

    return train


def own(slot: str) -> Callable[[type], type]:
    return register(slot, "own")


def test_a_target_with_weights_to_train_is_refused(train: Callable[..., Path]) -> None:
    @own("target")
    class Own(nn.Module):
        def __init__(self, encoder: nn.Module) -> None:
            super().__init__()
            self.online = encoder  # whose weights the optimizer has
            self.head = nn.Linear(8, 8)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.head(self.online(pixels))

        def update(self, encoder: nn.Module) -> None: ...

    with pytest.raises(RecipeError, match=r"its `head\.weight` requires a gradient, and targets are not trained"):
        train("jepa.target={kind: own}")


@pytest.mark.parametrize("name", ["jepa", "regularizer/variance"])
def test_a_loss_with_another_terms_name_is_refused(train: Callable[..., Path], name: str) -> None:
    @own("algorithm")
    class Own(PPO):
        def losses(self, minibatch: Any) -> Any:
            terms, figures = super().losses(minibatch)
            return {**terms, name: Term(100.0, minibatch["s_x"].square().mean())}, figures

    with pytest.raises(RecipeError, match=f"the algorithm names a loss `{name}`, as another term of Eq. 3 is: name it otherwise"):
        train("algorithm.kind=own", "regularizers=[{kind: variance}]")


def events(path: Path, event: str) -> list[str]:
    records = map(json.loads, (path / "events.jsonl").read_text().splitlines())
    return [record["text"] for record in records if record["event"] == event]


def learned(path: Path) -> list[dict[str, Any]]:
    """The records of a run, without times."""
    records = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in record.items() if name != "wall_s" and not name.startswith("time/")} for record in records]


def resumed_from_the_first_checkpoint(path: Path) -> Path:
    for checkpoint in sorted((path / "checkpoints").iterdir())[1:]:
        shutil.rmtree(checkpoint)
    (path / "summary.json").unlink()
    return resume(path, trust=True, quiet=True).path


def test_a_component_that_changes_its_list_changes_no_recipe(train: Callable[..., Path]) -> None:
    @own("objective")
    class Own(L2):
        def __init__(self, *, powers: list[float], named: dict[str, float]) -> None:
            super().__init__()
            powers.append(named.pop("a"))
            self.powers = powers

    path = train("jepa.objective={kind: own, powers: [2.0], named: {a: 1.0}}")
    config: Any = load_recipe(path / "recipe.yaml").jepa
    assert (config.objective.powers, config.objective.named) == ([2.0], {"a": 1.0})


def test_what_an_augmentation_keeps_in_buffers_is_resumed(train: Callable[..., Path]) -> None:
    @own("augmentation")
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

        def forward(self, pixels: Tensor) -> Tensor:
            self.calls += 1
            return (pixels.float() * (1 - 0.01 * self.calls).clamp(min=0.2)).to(torch.uint8)

    path = train("augmentations=[{kind: own}]")
    before = learned(path)
    assert learned(resumed_from_the_first_checkpoint(path)) == before


def test_an_augmentation_with_parameters_is_refused(train: Callable[..., Path]) -> None:
    @own("augmentation")
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, pixels: Tensor) -> Tensor:
            return pixels

    with pytest.raises(RecipeError, match="it has parameters, and augmentations are not trained: write buffers"):
        train("augmentations=[{kind: own}]")


def test_infinities_in_a_buffer_are_followed_and_loaded(train: Callable[..., Path]) -> None:
    @own("encoder")
    class Own(ViT):
        """Has a mask of attention, as many transformers do."""

        def __init__(self, frames: Any) -> None:
            super().__init__(frames, dim=8, depth=1, heads=2, patch=4)
            self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))

        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels) + self.mask.softmax(dim=1)[0, 1]

    path = train("encoder={kind: own}")
    assert json.loads((path / "summary.json").read_text())["updates_skipped"] == 0
    checkpoint = max((path / "checkpoints").iterdir())
    stored = load_tensors(checkpoint, "weights")
    assert torch.equal(stored["target.encoder.mask"], stored["encoder.mask"])
    assert load_encoder(path, trust=True)


class Gated(ViT):
    """Opens a gate, which no buffer holds."""

    gate = 0.0

    def __init__(self, frames: Any) -> None:
        super().__init__(frames, dim=8, depth=1, heads=2, patch=4)

    def anneal(self, progress: float) -> None:
        self.gate = progress

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels) * (1 + self.gate)


def test_a_trained_encoder_is_where_its_schedule_ended(train: Callable[..., Path]) -> None:
    own("encoder")(Gated)
    path = train("encoder={kind: own}")
    encoder = load_encoder(path, trust=True)
    assert encoder.gate == 0.8, "as at the last updates, which the run's next batch would be collected with"


def test_a_resumed_run_acts_where_its_schedules_were(train: Callable[..., Path]) -> None:
    own("encoder")(Gated)
    path = train("encoder={kind: own}")
    whole = load_tensors(max((path / "checkpoints").iterdir()), "weights")
    resumed_from_the_first_checkpoint(path)
    resumed = load_tensors(max((path / "checkpoints").iterdir()), "weights")
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())


def test_workers_act_where_the_learners_schedules_are(train: Callable[..., Path]) -> None:
    own("encoder")(Gated)
    recipe = load_recipe(train("encoder={kind: own}") / "recipe.yaml")
    with closing(build_env(recipe)) as env:
        learner = build_learner(recipe, env, Hardware("cpu", "fp32", 1))
        reached: list[float | None] = [None, 0.5]
        acting = RunActing(recipe, env, learner, lambda: 0, lambda: reached.pop(0))
        actor = acting.actor(0, 1)()
        gates = []
        for _ in range(2):
            actor.take(acting.weights())
            gates.append(actor.modules["encoder"].gate)
    assert gates == [0.0, 0.5]


def test_a_tensor_that_comes_into_being_with_the_first_batch_is_refused(train: Callable[..., Path]) -> None:
    @own("regularizer")
    class Own(nn.Module):
        mean: Tensor | None

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", None)

        def forward(self, s_x: Tensor) -> Tensor:
            self.mean = s_x.detach().mean(dim=0)
            return (s_x - self.mean).square().mean()

    with pytest.raises(RecipeError, match=r"`regularizer_own\.mean` comes into being with the first batch") as caught:
        train("regularizers=[{kind: own}]")
    assert "regularizers=[{kind: own}]" in str(caught.value)


def test_train_may_return_nothing(train: Callable[..., Path]) -> None:
    @own("encoder")
    class Own(ViT):
        def __init__(self, frames: Any) -> None:
            super().__init__(frames, dim=8, depth=1, heads=2, patch=4)

        def train(self, mode: bool = True) -> None:  # type: ignore[override]
            super().train(mode)
            self.norm.eval()

    assert train("encoder={kind: own}")


@pytest.mark.parametrize("form", ["super(Own, self)", "ViT"])
def test_a_field_that_a_subclass_sets_by_any_call_of_its_base_is_no_field(form: str) -> None:
    def __init__(self: Any, frames: Any, **rest: Any) -> None:
        if form == "ViT":
            ViT.__init__(self, frames, dim=16, **rest)
        else:
            super(Own, self).__init__(frames, dim=16, **rest)

    Own = own("encoder")(type("Own", (ViT,), {"__init__": __init__, "__module__": __name__, "__doc__": "Its own width."}))
    fields = registry.component("encoder", "own").fields.model_fields
    assert "dim" not in fields
    assert "depth" in fields


def test_skipped_updates_are_told_and_counted(train: Callable[..., Path]) -> None:
    @own("regularizer")
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

        def forward(self, s_x: Tensor) -> Tensor:
            self.calls += 1
            return s_x.mean() / (self.calls % 7 != 0)

    path = train("regularizers=[{kind: own}]")
    skipped = sum(record.get("updates_skipped", 0) for record in learned(path))
    assert skipped > 1
    assert json.loads((path / "summary.json").read_text())["updates_skipped"] == skipped
    (told,) = events(path, "warning")
    assert "updates were skipped at 32 env steps" in told
    resumed_from_the_first_checkpoint(path)
    assert json.loads((path / "summary.json").read_text())["updates_skipped"] == skipped


@pytest.mark.parametrize(
    ("slot", "more"), [("regularizer", "regularizers=[{kind: variance}, {kind: own}]"), ("objective", "jepa.objective={kind: own}")]
)
@pytest.mark.parametrize("diagnostics", ["diagnostics=[]", "diagnostics_every=64"])
def test_a_loss_that_is_never_finite_is_refused_at_its_place(train: Callable[..., Path], slot: str, more: str, diagnostics: str) -> None:
    @own(slot)
    class Own(nn.Module):
        def forward(self, s_x: Tensor, s_y: Tensor | None = None) -> Tensor:
            return s_x.sum(dim=-1 if slot == "objective" else None) * torch.nan

    if slot == "objective":
        Own.forward.__annotations__ = {}
    with pytest.raises(RecipeError, match=r"--set #1: not finite in the first updates: loss/(regularizer/own|jepa) \(update 1"):
        train(more, diagnostics)


def test_an_action_that_cannot_be_chosen_leaves_sac_finite(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Held(PendulumEnv):
        """Has a second action, which is always 0.3."""

        def __init__(self, render_mode: str | None = None) -> None:
            super().__init__(render_mode)
            self.action_space = gymnasium.spaces.Box(np.float32([-2, 0.3]), np.float32([2, 0.3]))

        def step(self, u: Any) -> Any:
            assert self.action_space.contains(u)
            return super().step(u[:1])

    monkeypatch.setitem(gymnasium.registry, "Held-v0", EnvSpec("Held-v0", entry_point=Held, max_episode_steps=20))
    sac = "algorithm={kind: sac, rollout_steps: 16, learning_starts: 32, minibatch_size: 8}"
    path = train("env={kind: gym, id: Held-v0, num_envs: 2, size: [8, 12]}", sac)
    assert json.loads((path / "summary.json").read_text())["updates_skipped"] == 0


def test_an_env_as_the_template_writes_it_is_resumed_exactly(train: Callable[..., Path]) -> None:
    template = Path(templates.__file__).parent / "env.py"
    path = train(f"plugins=[{template}]", "env={kind: my_component, num_envs: 2, size: [8, 12]}", "encoder.patch=4")
    assert not events(path, "notice")
    before = learned(path)
    assert learned(resumed_from_the_first_checkpoint(path)) == before


def test_a_learning_rate_that_breaks_s_x_is_refused(train: Callable[..., Path]) -> None:
    with pytest.raises(
        RecipeError, match=r"--set #1: .*(after one update s_x is not finite|is no longer finite|not finite in the first updates: s_x)"
    ):
        train("optimizer.lr=1.0e30", "optimizer.lr_schedule=constant")


def test_a_run_trains_whatever_torch_is_set_to_or_names_the_setting(train: Callable[..., Path]) -> None:
    with torch.no_grad():
        plain = train(out="plain")
    assert len(load_tensors(sorted((plain / "checkpoints").iterdir())[-1], "weights")) > 0
    with torch.inference_mode(), pytest.raises(UserError, match=r"inference_mode\(\) forbids"):
        train(out="refused")
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(UserError, match=r"default dtype is torch\.float64: call torch\.set_default_dtype\(torch\.float32\) first"):
            train(out="refused")
    finally:
        torch.set_default_dtype(torch.float32)


def test_while_one_thread_trains_another_neither_trains_nor_plays(train: Callable[..., Path]) -> None:
    inside, go_on = threading.Event(), threading.Event()

    @own("regularizer")
    class Own(nn.Module):
        def forward(self, s_x: Tensor) -> Tensor:
            inside.set()
            go_on.wait(60)
            return s_x.square().mean()

    first = train(out="first")
    other = threading.Thread(target=train, args=("regularizers=[{kind: own}]",))
    other.start()
    try:
        assert inside.wait(60)
        with pytest.raises(UserError, match="another thread of this process trains or plays"):
            train(out="second")
        before = torch.get_rng_state()
        with pytest.raises(UserError, match="another thread of this process trains or plays"):
            evaluate(first, 1)
        assert torch.equal(torch.get_rng_state(), before)
    finally:
        go_on.set()
        other.join()
    assert train(out="third")

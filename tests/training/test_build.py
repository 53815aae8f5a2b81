from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchrl.collectors import Collector

from jepakit import registry
from jepakit.machine.hardware import Hardware
from jepakit.protocols import FrameShape
from jepakit.recipe import RecipeError, load_recipe
from jepakit.registry import register
from jepakit.training.build import build_env, build_learner, measure_width
from jepakit.training.learner import Learner
from jepakit.training.policy import Policy

RECIPE = """
env: {kind: gym, id: Diary-v0, num_envs: 2, size: null, max_episode_steps: 4}
encoder: {kind: vit, dim: 8, depth: 1, heads: 2, patch: 4}
regularizers: [{kind: variance}, {kind: learned}]
algorithm: {kind: ppo, rollout_steps: 16, epochs: 2, minibatch_size: 8}
"""
HARDWARE = Hardware("cpu", "fp32", threads=1)


@pytest.fixture(autouse=True)
def learned_regularizer() -> Iterator[None]:
    @register("regularizer", "learned")
    class Learned(nn.Module):
        """Has its own weights."""

        def __init__(self, embedding_width: int) -> None:
            super().__init__()
            self.layer = nn.Linear(embedding_width, 1)

        def forward(self, s_x: Tensor) -> Tensor:
            return self.layer(s_x).square().mean()

    yield
    registry.forget(lambda module: module == __name__)


@pytest.fixture
def build(tmp_path: Path) -> Any:
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def build(*overrides: str) -> tuple[Learner, Any]:
        recipe = load_recipe(tmp_path / "recipe.yaml", overrides)
        env = build_env(recipe)
        env.set_seed(recipe.seed)
        return build_learner(recipe, env, HARDWARE), env

    return build


def initial(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.parts.named_parameters()}


def metrics_of_two_rounds(learner: Learner, env: Any) -> list[dict[str, float]]:
    collector = Collector(env, Policy(learner), frames_per_batch=32, total_frames=64, auto_register_policy_transforms=False)
    return [learner.learn(batch, progress) for batch, progress in zip(collector, (0.0, 0.5), strict=True)]


def test_the_same_seed_gives_the_same_metrics_bit_for_bit(build: Any) -> None:
    once, again = metrics_of_two_rounds(*build()), metrics_of_two_rounds(*build())
    assert once == again
    assert once[0] != once[1]
    assert metrics_of_two_rounds(*build("seed=1"))[0] != once[0]


@pytest.mark.parametrize(
    ("override", "others"),
    [
        ("jepa=null", {"encoder", "regularizer_learned", "algorithm"}),
        ("jepa.predictor.hidden=9", {"encoder", "target", "regularizer_learned", "algorithm"}),
        ("regularizers=[]", {"encoder", "target", "predictor", "algorithm"}),
        ("regularizers=[{kind: learned}]", {"encoder", "target", "predictor", "regularizer_learned", "algorithm"}),
        ("algorithm.hidden=[5]", {"encoder", "target", "predictor", "regularizer_learned"}),
    ],
)
def test_changing_a_part_keeps_the_initial_weights_of_the_others(build: Any, override: str, others: set[str]) -> None:
    before, after = initial(build()[0]), initial(build(override)[0])
    assert others <= {name.split(".")[0] for name in after}
    for name in after:
        if name.split(".")[0] in others:
            assert torch.equal(before[name], after[name]), name


def test_another_seed_gives_every_part_other_weights(build: Any) -> None:
    before, after = initial(build()[0]), initial(build("seed=1")[0])
    for part in ("encoder", "predictor", "algorithm", "regularizer_learned"):
        names = [name for name in before if name.startswith(part)]
        assert names
        assert any(not torch.equal(before[name], after[name]) for name in names), part


def test_the_target_starts_as_the_encoder_and_the_recipe_reaches_every_part(build: Any) -> None:
    learner, _ = build(
        "jepa.weight=0.5",
        "jepa.horizon=2",
        "jepa.target.decay=0.9",
        "regularizers.0.weight=3.0",
        "optimizer.lr=2e-4",
        "algorithm.gamma=0.8",
    )
    weights = initial(learner)
    assert all(torch.equal(weights[name], weights[f"target.{name}"]) for name in weights if name.startswith("encoder."))
    assert (learner.jepa.weight, learner.jepa.horizon, learner.jepa.target.decay) == (0.5, 2, 0.9)
    assert {name: term.weight for name, term in learner.terms.items()} == {"regularizer/variance": 3.0, "regularizer/learned": 1.0}
    assert learner.optimizer.param_groups[0]["lr"] == 2e-4
    assert learner.algorithm.gae.gamma == pytest.approx(0.8)


def test_measuring_the_width_handles_lazy_modules_and_keeps_batch_statistics() -> None:
    encoder = nn.Sequential(nn.Flatten(-4), ToFloat(), nn.LazyLinear(5), nn.BatchNorm1d(1), nn.Dropout())
    assert measure_width(encoder, FrameShape(3, 1, 8, 12), "cpu") == 5
    assert encoder[2].weight.shape == (5, 3 * 8 * 12)
    assert encoder[3].num_batches_tracked == 0
    assert encoder.training


class ToFloat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()


class Wrong(nn.Module):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, pixels: Tensor) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (torch.zeros(2, 1, 3, 4), r"torch.float32 \[2, 1, 3, 4\]"),
        (torch.zeros(6), r"torch.float32 \[6\]"),
        (torch.zeros(2, 4), r"torch.float32 \[2, 4\]"),  # handles only one leading dimension
        (torch.zeros(2, 1, 4, dtype=torch.int64), r"torch.int64 \[2, 1, 4\]"),
        ((torch.zeros(2, 1, 4),), "tuple"),
    ],
)
def test_an_encoder_that_returns_no_embedding_is_an_error_that_shows_its_output(answer: Any, found: str) -> None:
    with pytest.raises(ValueError, match=rf"must return float \[2, 1, D\]; it returned {found}$"):
        measure_width(Wrong(answer), FrameShape(3, 1, 8, 12), "cpu")


def test_a_plain_class_may_be_a_part_unless_it_holds_weights(build: Any) -> None:
    class Plain:
        """Not a module, which a component without weights need not be."""

        def __init__(self, embedding_width: int, action_spec: Any) -> None:
            self.names = ["s_x", "action"]

        def __call__(self, s_x: Tensor, action: Tensor) -> Tensor:
            return s_x

    class Hidden(Plain):
        def __init__(self, embedding_width: int, action_spec: Any) -> None:
            self.layers = [nn.ReLU(), nn.Linear(embedding_width, embedding_width)]

    class Holds:
        """A target that holds the encoder, which is trained elsewhere."""

        def __init__(self, encoder: nn.Module) -> None:
            self.encoder = encoder

        def __call__(self, pixels: Tensor) -> Tensor:
            return self.encoder(pixels)

        def update(self, encoder: nn.Module) -> None: ...

    class Listed(nn.Module):
        def __init__(self, embedding_width: int) -> None:
            super().__init__()
            self.layers = {"first": nn.Linear(embedding_width, embedding_width)}

        def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
            return self.layers["first"](s_x)

    class Teacher(Listed):
        def __init__(self, embedding_width: int) -> None:
            super().__init__(embedding_width)
            self.layers["first"].requires_grad_(False)  # frozen, and hidden so that no checkpoint holds it

    class Lazy(nn.Module):
        def __init__(self, embedding_width: int) -> None:
            super().__init__()
            self.layer = nn.LazyLinear(embedding_width)

        def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
            return self.layer(s_x)

    class Extra(nn.Linear):
        def __init__(self, embedding_width: int) -> None:
            super().__init__(embedding_width, embedding_width)

        def get_extra_state(self) -> dict[str, int]:
            return {"calls": 0}

    class Expanded(nn.Linear):
        def __init__(self, embedding_width: int) -> None:
            super().__init__(embedding_width, embedding_width)
            self.register_buffer("mask", torch.ones(1).expand(4))

    class Complex(nn.Linear):
        def __init__(self, embedding_width: int) -> None:
            super().__init__(embedding_width, embedding_width)
            self.phase = nn.Parameter(torch.ones(4, dtype=torch.complex64))

    for kind in (Plain, Hidden, Listed, Teacher, Lazy, Extra, Expanded, Complex):
        register("predictor", kind.__name__.lower())(kind)
    register("target", "holds")(Holds)
    build("jepa.predictor={kind: plain}", "jepa.target={kind: holds}")
    with pytest.raises(RecipeError, match=r"--set #1: it holds weights \(`layers`\) but is not a torch\.nn\.Module"):
        build("jepa.predictor={kind: hidden}")
    with pytest.raises(RecipeError, match=r"--set #1: it holds weights \(`layers`\) in a plain list or dict: write torch\.nn\.ModuleList"):
        build("jepa.predictor={kind: listed}")
    build("jepa.predictor={kind: teacher}")
    with pytest.raises(RecipeError, match=r"--set #1: `layer\.weight` is lazy: .* give the layer its width, of `embedding_width`"):
        build("jepa.predictor={kind: lazy}")
    with pytest.raises(RecipeError, match=r"--set #1: `Extra` overrides `get_extra_state`, .*: keep its state in buffers"):
        build("jepa.predictor={kind: extra}")
    with pytest.raises(RecipeError, match=r"--set #1: `mask` is expanded: .* call `clone\(\)` first"):
        build("jepa.predictor={kind: expanded}")
    with pytest.raises(RecipeError, match=r"--set #1: `phase` is complex, .*: keep two real parameters"):
        build("jepa.predictor={kind: complex}")


def test_an_encoder_without_weights_may_have_a_projector(build: Any) -> None:
    @register("encoder", "mean")
    class Mean(nn.Module):
        def __init__(self, frames: FrameShape) -> None:
            super().__init__()

        def forward(self, pixels: Tensor) -> Tensor:
            return pixels.float().mean(dim=(-4, -3, -2))

    learner, _ = build("encoder={kind: mean}", "jepa.projector={kind: linear, dim: 4}")
    assert learner.jepa is not None
    assert learner.jepa.projected(torch.zeros(2, 12)).shape == (2, 4)


def test_a_prediction_head_stands_on_the_predictions_side_alone(build: Any) -> None:
    projector, head = "jepa.projector={kind: linear, dim: 4}", "jepa.prediction_head={kind: linear, dim: 4}"
    without, with_head = (build(*overrides)[0] for overrides in ((projector,), (projector, head)))
    s, pixels = torch.randn(3, 8), torch.randint(0, 256, (2, *FrameShape(3, 1, 8, 12)), dtype=torch.uint8)
    before, after = initial(without), initial(with_head)
    assert len(after) == len(before) + 2  # no copy of the head in the target
    outer, inner = with_head.jepa.projector.head.project, with_head.jepa.projector.projector.project
    torch.testing.assert_close(with_head.jepa.projected(s), without.jepa.projected(s) @ outer.weight.T + outer.bias)
    torch.testing.assert_close(with_head.jepa.target(pixels), without.jepa.target(pixels))
    for module in (outer, inner):
        assert {id(p) for p in module.parameters()} <= {id(p) for p in with_head.parameters}
    shared = {name for name in after if not name.startswith("projector")}
    assert shared
    assert all(torch.equal(before[name], after[name]) for name in shared)


def test_a_prediction_head_learns_and_needs_no_projector(build: Any) -> None:
    learner, env = build("jepa.prediction_head={kind: mlp, hidden: 5, dim: 8}")
    before = initial(learner)
    metrics_of_two_rounds(learner, env)
    moved = {name for name, tensor in initial(learner).items() if not torch.equal(before[name], tensor)}
    assert {name for name in before if name.startswith("projector.head")} <= moved


def test_a_prediction_head_of_another_width_is_refused(build: Any) -> None:
    with pytest.raises(RecipeError, match=r"--set #1: it turns 8 entries into 3; what it predicts has 8"):
        build("jepa.prediction_head={kind: linear, dim: 3}")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("algorithm={kind: dqn, rollout_steps: 16}", "learns from replay"),
        ("augmentations=[{kind: random_shift}]", "draws `augmentations` anew at each update"),
        ("jepa.y=same", "has `y: same`, which is another view of x"),
        ("jepa.target={kind: online}", "trains the target `online`, with gradients through s_y"),
    ],
)
def test_s_y_is_not_encoded_once_for_a_batch_where_each_update_needs_its_own(build: Any, override: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=rf"--set #2: s_y cannot be encoded once for a batch, because this recipe {reason}"):
        build(override, "jepa.s_y_per=batch")


@pytest.mark.parametrize("kind", ["stop_gradient", "frozen", "periodic", "ema"])
def test_every_target_without_gradient_may_encode_s_y_once_for_a_batch(build: Any, kind: str) -> None:
    metrics = metrics_of_two_rounds(*build(f"jepa.target={{kind: {kind}}}", "jepa.s_y_per=batch"))
    each = metrics_of_two_rounds(*build(f"jepa.target={{kind: {kind}}}"))
    same = metrics[1]["loss/jepa"] == pytest.approx(each[1]["loss/jepa"], rel=1e-6)
    assert same == (kind in ("frozen", "periodic"))  # `periodic` copies after 200 updates, later than these

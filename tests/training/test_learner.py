import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torchrl.data import Categorical

from jepakit.components.encoders.vit import ViT
from jepakit.components.predictors.mlp import MLPPredictor
from jepakit.components.regularizers.variance import Variance
from jepakit.components.targets.ema import EMA
from jepakit.components.targets.frozen import Frozen
from jepakit.diagnostics.finite import BadWeights
from jepakit.protocols import ACTION, MASK, PIXELS, REWARD, TERMINATED, Minibatch
from jepakit.training.experience.rollout import window
from jepakit.training.learner import Learner
from jepakit.training.policy import Policy
from jepakit.training.terms import ProjectedEncoder, WeightedTerm, unroll
from tests.conftest import FRAMES, WIDTH

REGULARIZED = {"regularizer/variance": WeightedTerm(Variance(), weight=1.0)}


def a_minibatch(learner: Learner, collect: Any, horizon: int = 1) -> Minibatch:
    """A minibatch of every step of one collected batch."""
    rollout = learner.algorithm.prepare(collect(learner), learner.embed)
    steps = rollout.exclude(PIXELS, "next").flatten()
    return Minibatch(window(rollout, torch.arange(rollout.numel()), horizon), steps)


def gradients(learner: Learner, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of a loss with respect to each trained parameter that it reaches."""
    named = dict(learner.trained.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
    return {name: gradient for name, gradient in zip(named, found, strict=True) if gradient is not None and gradient.abs().max() > 0}


# The parts that each term of Eq. 3 trains.
TRAINS = {
    True: {
        "jepa": {"encoder", "predictor"},
        "actor": {"encoder", "algorithm.actor"},
        "critic": {"encoder", "algorithm.critic"},
        "entropy": {"encoder", "algorithm.actor"},
        "regularizer/variance": {"encoder"},
    },
    False: {
        "jepa": {"encoder", "predictor"},
        "actor": {"algorithm.actor"},
        "critic": {"algorithm.critic"},
        "entropy": {"algorithm.actor"},
        "regularizer/variance": {"encoder"},
    },
}


@pytest.mark.parametrize("gradients_to_encoder", [True, False])
def test_each_term_trains_only_its_parts(make_learner: Any, collect: Any, gradients_to_encoder: bool) -> None:
    learner = make_learner(terms=REGULARIZED, gradients_to_encoder=gradients_to_encoder)
    with torch.no_grad():
        learner.encoder.norm.weight.mul_(0.1)  # brings the mean variance below 1, where the regularizer has a gradient
    parts = {"encoder", "predictor", "algorithm.actor", "algorithm.critic"}
    assert all(any(name.startswith(part) for part in parts) for name, _ in learner.trained.named_parameters())

    terms, _ = learner.losses(a_minibatch(learner, collect))

    trained = {
        term: {part for part in parts for name in gradients(learner, loss) if name.startswith(part)} for term, (_, loss) in terms.items()
    }
    assert trained == TRAINS[gradients_to_encoder]


def test_the_target_is_saved_but_not_optimized(make_learner: Any) -> None:
    learner = make_learner()
    optimized = [parameter for group in learner.optimizer.param_groups for parameter in group["params"]]
    target = list(learner.jepa.target.parameters())
    assert not {id(parameter) for parameter in optimized} & {id(parameter) for parameter in target}
    assert {id(parameter) for parameter in target} <= {id(parameter) for parameter in learner.parts.parameters()}
    others = (learner.encoder, learner.jepa.predictor, learner.algorithm.actor, learner.algorithm.critic)
    assert [id(p) for p in optimized] == [id(p) for part in others for p in part.parameters()]  # each exactly once


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_the_jepa_loss_matches_equation_1(make_learner: Any, collect: Any, horizon: int) -> None:
    """The loss sums over dimensions and averages over predictions whose target is in the episode. The target gets no gradient."""
    learner = make_learner(jepa={"horizon": horizon})
    with torch.no_grad():
        for parameter in learner.jepa.target.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)  # as after some updates
    minibatch = a_minibatch(learner, collect, horizon)
    if horizon > 1:
        assert not minibatch.window[MASK].all()

    terms, _ = learner.losses(minibatch)

    distances = []
    for row in minibatch.window:
        prediction = learner.encoder(row[PIXELS][0])
        for h in range(1, horizon + 1):
            prediction = learner.jepa.predictor(prediction[None], row[ACTION][h - 1][None])[0]
            if row[MASK][h]:
                s_y = learner.jepa.target.encoder(row[PIXELS][h]).detach()
                distances.append(sum((p - s) ** 2 for p, s in zip(prediction, s_y, strict=True)))
    expected = sum(distances) / len(distances)
    torch.testing.assert_close(terms["jepa"].loss, expected, rtol=1e-4, atol=1e-5)
    mine, reference = gradients(learner, terms["jepa"].loss), gradients(learner, expected)
    assert mine.keys() == reference.keys()
    for name, gradient in reference.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-3, atol=1e-4 * gradient.abs().max().item())


def test_terms_see_where_each_step_of_a_rollout_starts(make_learner: Any, collect: Any) -> None:
    """s_x, then the predictor's own outputs, with the action, the reward and the end that followed there: of each window in turn."""
    seen: dict[str, Tensor] = {}

    def term(s_hat: Tensor, s_hat_action: Tensor, s_hat_reward: Tensor, s_hat_terminated: Tensor) -> Tensor:
        seen.update(s_hat=s_hat, action=s_hat_action, reward=s_hat_reward, terminated=s_hat_terminated)
        return s_hat.square().mean()

    projector = nn.Linear(WIDTH, 3)
    learner = make_learner(jepa={"horizon": 3}, terms={"auxiliary/model": WeightedTerm(term, 1.0)})
    target = EMA(ProjectedEncoder(learner.encoder, projector))
    learner.jepa = dataclasses.replace(learner.jepa, projector=projector, target=target)  # which the term is not behind
    minibatch = a_minibatch(learner, collect, 3)
    terms, _ = learner.losses(minibatch)

    expected: list[tuple[Tensor, ...]] = []
    for row in minibatch.window:
        here = learner.encoder(row[PIXELS][0])
        for h in range(3):
            if row[MASK][h + 1]:
                expected.append((here, row[ACTION][h], row[REWARD][h], row[TERMINATED][h]))
            here = learner.jepa.predictor(here[None], row[ACTION][h][None])[0]
    for name, values in zip(seen, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(seen[name], torch.stack(values), rtol=1e-4, atol=1e-5)
    assert seen["terminated"].any()
    assert not seen["terminated"].all()
    assert {name.partition(".")[0] for name in gradients(learner, terms["auxiliary/model"].loss)} == {"encoder", "predictor"}


def test_y_may_be_the_newest_frame_alone(make_learner: Any, collect: Any) -> None:
    learner = make_learner(jepa={"y": "newest"})
    minibatch = a_minibatch(learner, collect)

    terms, _ = learner.losses(minibatch)

    newest = minibatch.window[PIXELS][:, 1, -1]  # f[t+1]
    s_y = learner.jepa.target(torch.stack((newest, newest, newest), dim=1))
    s_y_hat = learner.jepa.predictor(learner.encoder(minibatch.window[PIXELS][:, 0]), minibatch.window[ACTION][:, 0])
    torch.testing.assert_close(terms["jepa"].loss, (s_y_hat - s_y).square().sum(dim=1).mean())


@pytest.mark.parametrize(("horizon", "y"), [(1, "stack"), (3, "stack"), (2, "newest")])
def test_s_y_may_be_encoded_once_for_a_batch(make_learner: Any, collect: Any, horizon: int, y: str) -> None:
    """Every update then predicts the s_y of the target as it was before the batch's updates, although the target moves at each of them."""
    learner = make_learner(jepa={"horizon": horizon, "y": y, "s_y_per": "batch"}, lr=0.05, epochs=2)
    before = copy.deepcopy(learner.jepa.target)
    passes: list[int] = []
    learner.jepa.target.register_forward_hook(lambda _, args, __: passes.append(len(args[0])))
    losses = learner.losses

    def checked(minibatch: Minibatch) -> Any:
        terms, metrics = losses(minibatch)
        window, inside = minibatch.window, minibatch.window[MASK][:, 1:]
        s_y = before(learner.jepa.seen(window[PIXELS][:, 1:]))
        s_y_hat = learner.jepa.predict(learner.encoder(window[PIXELS][:, 0]), window[ACTION][:, :-1])
        torch.testing.assert_close(terms["jepa"].loss, (s_y_hat - s_y)[inside].square().sum(dim=-1).mean())
        return terms, metrics

    learner.losses = checked
    learner.learn(collect(learner), progress=0.0)

    assert learner.updates == 12
    assert passes == [48]  # 3 envs, 16 steps
    assert not torch.equal(learner.jepa.target.encoder.norm.weight, before.encoder.norm.weight)


def test_the_total_loss_matches_equation_3_with_every_weight(make_learner: Any, collect: Any) -> None:
    learner = make_learner(
        jepa={"weight": 0.7}, terms={"regularizer/variance": WeightedTerm(Variance(), weight=2.5)}, critic_weight=0.3, entropy_weight=0.05
    )
    minibatch = a_minibatch(learner, collect)
    terms, _ = learner.losses(minibatch)
    weights = {"jepa": 0.7, "regularizer/variance": 2.5, "actor": 1.0, "critic": 0.3, "entropy": 0.05}
    assert weights.keys() == terms.keys()
    expected = sum(weight * terms[name].loss for name, weight in weights.items())
    reference = gradients(learner, expected)

    learner.optimizer.step = lambda: None  # keeps the gradients of the step, which is not taken
    metrics = learner.update(minibatch)

    for name in weights:
        torch.testing.assert_close(metrics[f"loss/{name}"], terms[name].loss.detach())  # logged without its weight
    torch.testing.assert_close(metrics["loss/total"], expected.detach())
    for name, parameter in learner.trained.named_parameters():
        torch.testing.assert_close(parameter.grad, reference[name], rtol=1e-3, atol=1e-5)


def test_every_part_with_a_schedule_of_its_own_follows_the_run(make_learner: Any, collect: Any) -> None:
    class Scheduled(Variance):
        now = -1.0

        def anneal(self, progress: float) -> None:
            self.now = progress

    class Encoder(ViT):
        def __init__(self) -> None:
            super().__init__(FRAMES, dim=WIDTH, depth=1, heads=2, patch=4)
            self.within = Scheduled()

    class Plain:
        now = -1.0
        anneal = Scheduled.anneal

        def __call__(self, pixels: Tensor) -> Tensor:
            return pixels

    term, augmentation = Scheduled(), Plain()
    learner = make_learner(encoder=Encoder(), terms={"regularizer/its": WeightedTerm(term, 1.0)}, augmentations=(augmentation,))
    batch = collect(learner)
    for progress in (0.0, 0.25):
        learner.learn(batch, progress)
        assert term.now == augmentation.now == learner.encoder.within.now == learner.jepa.target.encoder.within.now == progress
    fixed = make_learner(encoder=Encoder(), jepa={"target": Frozen(Encoder())})
    fixed.encoder.norm.anneal = True  # a setting by that name is no schedule
    fixed.learn(batch, 0.5)
    assert (fixed.encoder.within.now, fixed.jepa.target.encoder.within.now) == (0.5, -1.0)


def test_without_jepa_and_regularizers_only_the_rl_terms_remain(make_learner: Any, collect: Any) -> None:
    learner = make_learner(jepa=None)
    metrics = learner.learn(collect(learner), progress=0.0)
    assert {name for name in metrics if name.startswith("loss/")} == {"loss/actor", "loss/critic", "loss/entropy", "loss/total"}
    assert not any("target" in name or "predictor" in name for name, _ in learner.parts.named_parameters())


def test_the_target_follows_the_encoder_after_each_step(make_learner: Any, collect: Any) -> None:
    learner = make_learner(lr=0.05)
    minibatch = a_minibatch(learner, collect)
    expected = {name: tensor.double() for name, tensor in learner.encoder.named_parameters()}  # the target starts as a copy
    for _ in range(3):
        before = copy.deepcopy(learner.encoder)
        learner.update(minibatch)
        for name, after_the_step in learner.encoder.named_parameters():
            assert not torch.equal(after_the_step, before.get_parameter(name))
            expected[name] = 0.99 * expected[name] + 0.01 * after_the_step.double()
    for name, average in learner.jepa.target.encoder.named_parameters():
        torch.testing.assert_close(average.double(), expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gradients_to_encoder", [True, False])
def test_the_encoder_runs_once_per_update(make_learner: Any, collect: Any, gradients_to_encoder: bool) -> None:
    learner = make_learner(terms=REGULARIZED, gradients_to_encoder=gradients_to_encoder)
    minibatch = a_minibatch(learner, collect)
    calls: list[int] = []
    learner.encoder.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    learner.update(minibatch)
    assert calls == [len(minibatch.window)]


def test_gradients_are_clipped_by_their_global_norm(make_learner: Any, collect: Any) -> None:
    learner = make_learner(max_grad_norm=0.01)
    minibatch = a_minibatch(learner, collect)
    terms, _ = learner.losses(minibatch)
    reference = gradients(learner, sum(term.weight * term.loss for term in terms.values()))
    norm = math.sqrt(sum(gradient.double().square().sum().item() for gradient in reference.values()))
    assert norm > 0.1

    metrics = learner.update(minibatch)

    assert metrics["grad_norm"].item() == pytest.approx(norm, rel=1e-3)
    for name, parameter in learner.trained.named_parameters():
        torch.testing.assert_close(parameter.grad, reference[name] * 0.01 / norm, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("lr_schedule", "expected"),
    [
        ("constant", [2e-3, 2e-3, 2e-3]),
        ("linear", [2e-3, 1.5e-3, 0.5e-3]),
        ("cosine", [2e-3, (1 + math.sqrt(0.5)) * 1e-3, (1 - math.sqrt(0.5)) * 1e-3]),
    ],
)
def test_the_learning_rate_follows_its_schedule(make_learner: Any, collect: Any, lr_schedule: str, expected: list[float]) -> None:
    learner = make_learner(lr=2e-3, lr_schedule=lr_schedule)
    batch, seen = collect(learner), []
    step = learner.optimizer.step
    learner.optimizer.step = lambda: (seen.append(learner.optimizer.param_groups[0]["lr"]), step())
    for progress in (0.0, 0.25, 0.75):
        learner.learn(batch, progress)
    in_each_round = [seen[i : i + len(seen) // 3] for i in range(0, len(seen), len(seen) // 3)]
    for rates, rate in zip(in_each_round, expected, strict=True):
        assert rates == [pytest.approx(rate)] * len(rates)


def test_the_learning_rate_warms_up_once_to_its_scheduled_value(make_learner: Any, collect: Any) -> None:
    learner = make_learner(lr=2e-3, lr_schedule="linear", warmup_updates=3)
    batch, seen = collect(learner), []
    step = learner.optimizer.step
    learner.optimizer.step = lambda: (seen.append(learner.optimizer.param_groups[0]["lr"]), step())
    learner.learn(batch, progress=0.5)
    assert seen[:4] == [pytest.approx(rate) for rate in (1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3)]
    learner.learn(batch, progress=0.75)
    assert seen[-1] == pytest.approx(0.5e-3), "and is over once for all"


def test_encoder_and_target_count_every_frame_once(make_learner: Any, collect: Any) -> None:
    learner = make_learner(encoder=ViT(FRAMES, dim=WIDTH, depth=1, heads=2, patch=4, scaling="normalized"))
    batches = [collect(learner) for _ in range(3)]
    acting = learner.embed(batches[1][PIXELS])
    seen = []
    learner.optimizer.register_step_pre_hook(lambda *_: seen.append(int(learner.encoder.scale.count)))
    for progress, batch in zip((0.0, 0.3, 0.6), batches, strict=True):
        learner.learn(batch, progress)
    frames = torch.cat([batch[PIXELS][:, :, -1].flatten(0, 1) for batch in batches]).long()
    for encoder in (learner.encoder, learner.jepa.target.encoder):
        assert encoder.scale.count == len(frames)
        assert torch.equal(encoder.scale.sum, frames.sum(0))
        assert torch.equal(encoder.scale.square_sum, frames.square().sum(0))
    rounds = len(frames) // 3
    assert set(seen) == {rounds, 2 * rounds}, "an update sees what acting saw, but for the first round, which has seen nothing"
    assert acting.isfinite().all()


def test_the_learner_anneals_the_clip(make_learner: Any, collect: Any) -> None:
    learner = make_learner(clip=0.2, clip_schedule="linear")
    learner.learn(collect(learner), progress=0.75)
    assert learner.algorithm.loss.clip_epsilon.item() == pytest.approx(0.05)


def test_metrics_are_means_except_those_of_the_embedding(make_learner: Any, collect: Any) -> None:
    learner = make_learner(minibatch_size=16)
    figures = {
        "loss/jepa": [1.0, 2.0, 6.0],
        "ppo/kl": [0.0, 0.0, 0.3],
        "embedding/variance": [3.0, 1.0, 2.5],
        "embedding/mean_square": [7.0, 9.0, 5.0],
        "loss/actor": [None, 4.0, 5.0],  # a delayed actor has no loss in some updates
    }
    rows = iter([{name: torch.tensor(values[i]) for name, values in figures.items() if values[i] is not None} for i in range(3)])
    learner.update = lambda window: next(rows)

    metrics = learner.learn(collect(learner, num_envs=3, steps=16), progress=0.0)

    expected = {
        "loss/jepa": 3.0,
        "ppo/kl": 0.1,
        "loss/actor": 4.5,
        "embedding/variance": 2.5,
        "embedding/mean_square": 5.0,
        "embedding/variance_min": 1.0,
        "updates_skipped": 0.0,
    }
    assert metrics == pytest.approx(expected)


def test_a_round_of_skipped_updates_reports_only_their_number(make_learner: Any, collect: Any) -> None:
    learner = make_learner(terms={"regularizer/odd": WeightedTerm(Explodes(set(range(9))), weight=1.0)}, minibatch_size=24)
    assert learner.learn(collect(learner), progress=0.0) == {"updates_skipped": 2.0}


def test_the_variance_is_that_of_the_online_embedding(make_learner: Any, collect: Any) -> None:
    learner = make_learner()
    minibatch = a_minibatch(learner, collect)
    s_x = learner.embed(minibatch.window[PIXELS][:, 0])
    metrics = learner.update(minibatch)
    torch.testing.assert_close(metrics["embedding/variance"], s_x.var(dim=0).mean())
    torch.testing.assert_close(metrics["embedding/mean_square"], s_x.square().mean())


def test_a_policy_acts_on_the_learners_device_wherever_the_pixels_are(make_learner: Any) -> None:
    class Asked(Exception):
        pass

    class Encoder(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            raise Asked(pixels.device.type)

    learner = make_learner(encoder=Encoder(), jepa=None)
    learner.hardware = learner.hardware._replace(device="meta")
    with pytest.raises(Asked, match="meta"):
        Policy(learner)(TensorDict({PIXELS: torch.zeros(2, *FRAMES, dtype=torch.uint8)}, batch_size=[2]))


def test_updates_counts_optimizer_steps(make_learner: Any, collect: Any) -> None:
    learner = make_learner(epochs=3, minibatch_size=10)
    learner.learn(collect(learner, num_envs=3, steps=16), progress=0.0)
    assert learner.updates == 3 * 4


class Explodes(nn.Module):
    """A regularizer that is infinite in the given calls."""

    def __init__(self, calls: set[int]) -> None:
        super().__init__()
        self.calls, self.seen = calls, 0

    def forward(self, s_x: Tensor) -> Tensor:
        self.seen += 1
        return s_x.square().mean() * (math.inf if self.seen in self.calls else 1.0)


class RootOfVariance(nn.Module):
    """A common mistake: if a dimension is constant, the value is finite but the gradient is not."""

    def forward(self, s_x: Tensor) -> Tensor:
        return (s_x * torch.tensor([0.0] + [1.0] * (s_x.shape[1] - 1))).var(dim=0).sqrt().mean()


def test_a_non_finite_update_is_skipped_and_counted(make_learner: Any, collect: Any) -> None:
    learner = make_learner(terms={"regularizer/odd": WeightedTerm(Explodes({2}), weight=1.0)}, minibatch_size=10)
    metrics = learner.learn(collect(learner), progress=0.0)
    assert metrics["updates_skipped"] == 1
    assert learner.updates == 3
    assert all(math.isfinite(value) for value in metrics.values())
    assert all(parameter.isfinite().all() for parameter in learner.parts.parameters())


@pytest.mark.parametrize(
    ("loss", "first"),
    [
        (Explodes(set(range(2, 99))), r"loss/regularizer/odd \(update 2; pixels \d+ to 255, action 0 to 2, reward .* to "),
        (RootOfVariance(), r"the gradient of loss/regularizer/odd \(update 1; "),
    ],
)
def test_too_many_bad_updates_in_a_row_end_the_run_and_name_the_first_cause(
    make_learner: Any, collect: Any, loss: nn.Module, first: str
) -> None:
    learner = make_learner(terms={"regularizer/odd": WeightedTerm(loss, weight=1.0)}, minibatch_size=10, max_bad_updates=3)
    with pytest.raises(FloatingPointError, match=rf"^not finite in 3 updates in a row, first {first}"):
        learner.learn(collect(learner), progress=0.0)
    assert all(parameter.isfinite().all() for parameter in learner.parts.parameters())


class Breaks(nn.Module):
    """An encoder whose output is not finite if ``seen``, its number of calls with gradients, is one of ``calls``."""

    def __init__(self, calls: set[int]) -> None:
        super().__init__()
        self.layer = nn.Linear(FRAMES.frames * FRAMES.channels * FRAMES.height * FRAMES.width, 8)
        self.calls, self.seen = calls, 0

    def forward(self, pixels: Tensor) -> Tensor:
        self.seen += torch.is_grad_enabled()
        return self.layer(pixels.flatten(-4).float() / 255) / (self.seen not in self.calls)


class Unit:
    """A projector that is a plain class, not a module."""

    def __call__(self, s: Tensor) -> Tensor:
        return 10 * s / s.norm(dim=-1, keepdim=True)


class Apart(nn.Module):
    """An objective that records its arguments."""

    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        self.given = (s_y_hat.detach(), s_y)
        return (s_y_hat - s_y).square().sum(dim=-1)


def test_a_projector_is_applied_to_both_sides_in_fp32(make_learner: Any, collect: Any) -> None:
    seen = []

    class Linear(nn.Linear):
        def forward(self, s: Tensor) -> Tensor:
            projected = super().forward(s)
            seen.append((s.dtype, projected.dtype))
            return projected

    encoder, objective = ViT(FRAMES, dim=8, depth=1, heads=2, patch=4), Apart()
    for projector in (Unit(), Linear(8, 8)):
        followed = ProjectedEncoder(encoder, projector)
        jepa = {"target": EMA(followed), "followed": followed, "projector": projector, "objective": objective}
        learner = make_learner(encoder=encoder, jepa=jepa, precision="bf16")
        learner.learn(collect(learner), progress=0.0)
        if isinstance(projector, Unit):
            for side in objective.given:
                torch.testing.assert_close(side.norm(dim=-1), torch.full((len(side),), 10.0))
    assert set(seen) == {(torch.float32, torch.float32)}


@pytest.mark.parametrize("jepa", [{}, None])
def test_a_non_finite_encoder_output_is_named_before_a_distribution_fails_on_it(
    make_learner: Any, collect: Any, jepa: dict[str, Any] | None
) -> None:
    learner = make_learner(encoder=Breaks({2}), jepa=jepa, minibatch_size=10)
    batch = collect(learner)
    metrics = learner.learn(batch, progress=0.0)
    assert (metrics["updates_skipped"], learner.updates) == (1, 3)
    assert all(parameter.isfinite().all() for parameter in learner.parts.parameters())

    learner = make_learner(encoder=Breaks(set(range(2, 99))), jepa=jepa, minibatch_size=10, max_bad_updates=2)
    with pytest.raises(FloatingPointError, match=r"^not finite in 2 updates in a row, first s_x \(update 2; pixels"):
        learner.learn(batch, progress=0.0)


@pytest.mark.parametrize("jepa", [{}, None])
def test_a_step_that_makes_weights_non_finite_ends_the_run_at_once(make_learner: Any, collect: Any, jepa: dict[str, Any] | None) -> None:
    for minibatch_size in (10, 48):  # with another update to follow, and without
        learner = make_learner(lr=1e38, jepa=jepa, minibatch_size=minibatch_size)
        batch = collect(learner)
        with pytest.raises(BadWeights, match=r"^`\w[\w.]*` is no longer finite, although its gradient was: "):
            learner.learn(batch, progress=0.0)
        assert learner.updates == 1


def test_acting_on_a_non_finite_embedding_names_it(make_learner: Any) -> None:
    learner = make_learner(encoder=Breaks({0}))
    with pytest.raises(FloatingPointError, match=r"^s_x, the encoder's output, is not finite$"):
        Policy(learner)(TensorDict({PIXELS: torch.zeros(2, *FRAMES, dtype=torch.uint8)}, [2]))


def test_only_consecutive_bad_updates_end_the_run(make_learner: Any, collect: Any) -> None:
    # Updates 1, 3 and 5 are bad. The search for the cause makes one more call each, so these updates start with calls 1, 4 and 7.
    learner = make_learner(terms={"regularizer/odd": WeightedTerm(Explodes({1, 4, 7}), 1.0)}, minibatch_size=6, max_bad_updates=2)
    assert learner.learn(collect(learner), progress=0.0)["updates_skipped"] == 3


@pytest.mark.parametrize(
    ("part", "returns", "complaint"),
    [
        ("predictor", lambda s_x, action: s_x[:, :1], r"the predictor returned \[\d+, 1\] where \[\d+, 8\] was expected"),
        ("objective", lambda s_y_hat, s_y: (s_y_hat - s_y) ** 2, r"the objective returned \[\d+, 8\] where \[\d+\] was expected"),
        ("objective", lambda s_y_hat, s_y: ((s_y_hat - s_y) ** 2).sum(), r"the objective returned \[\] where \[\d+\] was expected"),
        ("regularizer", lambda s_x: s_x.var(dim=1), r"the regularizer/odd returned \[\d+\] where \[\] was expected"),
    ],
)
def test_a_shape_that_would_broadcast_is_refused(make_learner: Any, collect: Any, part: str, returns: Any, complaint: str) -> None:
    if part == "regularizer":
        learner = make_learner(terms={"regularizer/odd": WeightedTerm(returns, weight=1.0)})
    else:
        learner = make_learner(jepa={part: returns})
    with pytest.raises(ValueError, match=complaint):
        learner.learn(collect(learner), progress=0.0)


def test_under_bf16_a_small_variance_is_measured_in_fp32(make_learner: Any, collect: Any) -> None:
    """Rounding to bf16 alone gives embeddings a variance of about 1e-5 of their mean square."""
    learner = make_learner(precision="bf16")
    with torch.no_grad():
        learner.encoder.embed.weight.mul_(1e-5)
    minibatch = a_minibatch(learner, collect)
    with torch.no_grad():
        exact = learner.encoder(minibatch.window[PIXELS][:, 0]).var(dim=0).mean()
    _, metrics = learner.losses(minibatch)
    torch.testing.assert_close(metrics["embedding/variance"], exact, rtol=1e-3, atol=0)
    noisy = learner.embed(minibatch.window[PIXELS][:, 0]).var(dim=0).mean()
    assert not torch.isclose(noisy, exact, rtol=0.1, atol=0)


class Recorder(nn.Module):
    """A predictor that doubles s_x, adds the action and records each s_x."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        self.given.append(s_x)
        return 2 * s_x + action[:, None]


class RecurrentRecorder(Recorder):
    def unroll(self, s_x: Tensor, actions: Tensor) -> Tensor:
        return torch.full((*actions.shape, s_x.shape[-1]), 7.0)


def test_unroll_feeds_each_prediction_back() -> None:
    s_x, actions = torch.randn(4, 2), torch.randint(0, 3, (4, 3))
    predictor = Recorder()

    predictions = unroll(predictor, s_x, actions)

    assert predictions.shape == (4, 3, 2)
    for b in range(4):
        now = s_x[b]
        for h in range(3):
            now = 2 * now + actions[b, h]
            torch.testing.assert_close(predictions[b, h], now)
    assert [torch.equal(given, s) for given, s in zip(predictor.given, (s_x, predictions[:, 0], predictions[:, 1]), strict=True)] == [
        True
    ] * 3


def test_a_predictors_own_unroll_is_used(make_learner: Any, collect: Any) -> None:
    predictor = RecurrentRecorder()
    assert (unroll(predictor, torch.randn(4, 2), torch.zeros(4, 3)) == 7).all()
    learner = make_learner(jepa={"horizon": 3, "predictor": predictor})
    learner.learn(collect(learner), progress=0.0)
    assert not predictor.given


def test_heads_and_losses_are_in_fp32_when_the_encoder_is_in_bf16(make_learner: Any, collect: Any) -> None:
    learner = make_learner(precision="bf16", terms=REGULARIZED)
    seen: dict[str, torch.dtype] = {}
    learner.encoder.embed.register_forward_hook(lambda _, __, output: seen.update(encoder=output.dtype))
    learner.jepa.predictor.first.register_forward_hook(lambda _, __, output: seen.update(predictor=output.dtype))
    terms, metrics = learner.losses(a_minibatch(learner, collect))
    assert seen == {"encoder": torch.bfloat16, "predictor": torch.float32}
    assert {term.loss.dtype for term in terms.values()} == {torch.float32}
    assert metrics["embedding/variance"].dtype == torch.float32


def test_learning_reduces_the_jepa_loss(make_learner: Any, collect: Any) -> None:
    learner = make_learner(lr=1e-2, epochs=2, gradients_to_encoder=False, jepa={"predictor": MLPPredictor(8, Categorical(3))})
    batch = collect(learner)
    losses = [learner.learn(batch, progress=0.0)["loss/jepa"] for _ in range(5)]
    assert losses[-1] < 0.5 * losses[0]


def test_an_algorithms_metric_decides_no_step(make_learner: Any, collect: Any) -> None:
    learner = make_learner()
    minibatch = a_minibatch(learner, collect)
    losses = learner.algorithm.losses
    learner.algorithm.losses = lambda *given: (lambda terms, metrics: (terms, {**metrics, "actor_grad_norm": torch.tensor(math.nan)}))(
        *losses(*given)
    )
    metrics = learner.update(minibatch)
    assert metrics is not None
    assert math.isnan(metrics["actor_grad_norm"])

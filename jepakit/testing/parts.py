"""The rules for predictors, objectives, projectors, loss terms, augmentations, distractions, curiosities and planners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from jepakit.protocols import ACTION, Distraction
from jepakit.testing.modules import Call, Inputs, Make, by_name, check_gradients, check_module, in_order
from jepakit.testing.rules import Rules, expect, expect_same, expect_tensor, flat
from jepakit.testing.settings import Setting
from jepakit.training.terms import WeightedTerm
from jepakit.training.update.bonus import Bonus, ReturnScale

BATCHES = (2, 7)
ENVS, PROPOSED, STEPS = 5, 3, 4  #: of a plan
EMBEDDINGS = ("s_x", "s_x_next", "s_y_hat", "s_hat")  #: inputs of a term that can receive a gradient


def check_predictor(rules: Rules, make: Make, setting: Setting) -> None:
    """A predictor maps s_x [B, D] and an action to [B, D]; in ``unroll``, no prediction sees a later action."""
    with rules.rule("output", "ŝ_y has the shape and dtype of s_x"):
        predictor = make(0)
        for batch in BATCHES:
            expect_tensor("ŝ_y", predictor(setting.embeddings(batch), setting.action(batch)), (batch, setting.width), torch.float32)
    if "output" in rules.broken:
        return
    with rules.rule("unroll", "unroll(s_x [B, D], actions [B, H, ...]) -> [B, H, D]; step h may depend only on actions up to h"):
        if hasattr(predictor, "unroll"):
            s_x, actions = setting.embeddings(7), setting.action(7, 3)
            unrolled = predictor.unroll(s_x, actions)
            expect_tensor("ŝ_y of unroll", unrolled, (7, 3, setting.width), torch.float32)
            expect_tensor("ŝ_y of unroll", predictor.unroll(s_x, actions[:, :1]), (7, 1, setting.width), torch.float32)
            actions[:, -1] = setting.action(7)
            expect_same("the steps before an action that changes", unrolled[:, :-1], predictor.unroll(s_x, actions)[:, :-1])
    inputs = {"s_x": setting.embeddings(7), "action": setting.action(7)}
    check_gradients(rules, make, in_order, inputs, ["s_x"])
    check_module(rules, make, in_order, inputs)


def check_objective(rules: Rules, make: Make, setting: Setting) -> None:
    """An objective maps ŝ_y and s_y [M, D] to [M], or [M, N, D] to [M, N]."""
    with rules.rule("output", "return one loss a row: sum or average over the last dimension only"):
        objective = make(0)
        for leading in ((2,), (7,), (7, 4)):
            loss = objective(setting.embeddings(*leading), setting.embeddings(*leading))
            expect_tensor(f"the loss of embeddings {[*leading, setting.width]}", loss, leading, torch.float32)
    if "output" in rules.broken:
        return
    inputs = {"s_y_hat": setting.embeddings(7), "s_y": setting.embeddings(7)}
    zero, same = torch.zeros(7, setting.width), setting.embeddings(7)
    cases = {"of ŝ_y = s_y": {"s_y_hat": same, "s_y": same}, "of embeddings that are all zero": {"s_y_hat": zero, "s_y": zero}}
    _check_finite(rules, objective, in_order, cases)
    check_gradients(rules, make, in_order, inputs, ["s_y_hat"])
    check_module(rules, make, in_order, inputs)


def check_projector(rules: Rules, make: Make, setting: Setting) -> None:
    """A projector maps [*, D] to [*, P], with any number of leading dimensions."""
    with rules.rule("output", "transform only the last dimension"):
        projector = make(0)
        width = projector(setting.embeddings(2)).shape[-1]
        for leading in ((2,), (7,), (7, 3), (2, 3, 4)):
            s = setting.embeddings(*leading)
            expect_tensor(f"the projection of {list(s.shape)}", projector(s), (*leading, width), torch.float32)
            expect_same(
                f"projections of {list(s.shape)} and of the same flattened", projector(s).flatten(0, -2), projector(s.flatten(0, -2))
            )
    if "output" in rules.broken:
        return
    check_gradients(rules, make, in_order, {"s": setting.embeddings(7)}, ["s"])
    check_module(rules, make, in_order, {"s": setting.embeddings(7)})


def check_term(rules: Rules, make: Make, setting: Setting) -> None:
    """A term maps the `INPUTS` that ``forward`` names to a scalar, finite even for collapsed embeddings."""
    with rules.rule("output", "return a scalar: a mean over the batch"):
        term = make(0)
        names = WeightedTerm(term, 1.0).inputs
        for batch in BATCHES:
            given = minibatch(setting, batch)
            expect_tensor(f"the loss of {batch} rows", term(**{name: given[name] for name in names}), (), torch.float32)
    if "output" in rules.broken:
        return
    inputs = {name: tensor for name, tensor in minibatch(setting, 7).items() if name in names}
    learnt = [name for name in EMBEDDINGS if name in names]
    constant = {name: tensor[:1].expand_as(tensor).clone() for name, tensor in inputs.items() if name in (*EMBEDDINGS, "s_y")}
    zero = {name: torch.zeros_like(tensor) for name, tensor in constant.items()}
    cases = {"of embeddings that are all the same": inputs | constant, "of embeddings that are all zero": inputs | zero}
    _check_finite(rules, term, by_name, cases)
    with rules.rule("gradients", "ask for `s_x`, `s_x_next`, `s_y_hat` or `s_hat`: only these inputs have a gradient"):
        expect(learnt, f"it asks for {', '.join(f'`{name}`' for name in names) or 'nothing'} alone")
    # at some scales of the embeddings a term may have no gradient
    check_gradients(rules, make, by_name, inputs, learnt, scales=(1e-3, 0.1, 1.0, 3.0))
    check_module(rules, make, by_name, inputs)


def check_augmentation(rules: Rules, make: Make, setting: Setting) -> None:
    """An augmentation keeps shape and dtype of [B, K, C, H, W]; each stack has its own draw, which its K frames share."""
    with rules.rule("output", "keep the shape and dtype of the pixels (round, clamp to 0..255, .to(torch.uint8))"):
        augmentation = make(0)
        for batch in (1, *BATCHES):
            expect_tensor("the augmented pixels", augmentation(setting.pixels(batch)), (batch, *setting.frames), setting.dtype)
    if "output" in rules.broken:
        return
    still = setting.pixels(1)[:, :1].expand(16, *setting.frames).clone()  # 16 times one frame, K times over
    calls = [augmentation(still) for _ in range(8)]
    with rules.rule("one draw a stack", "draw [B, 1, ...]: one number a stack, not one a frame, which would fake motion"):
        expect(all(_alike(stack) for stack in calls[0]), "the K equal frames of a stack come out different")
    with rules.rule("a draw for each stack", "draw [B, ...] numbers, not one for the whole batch"):
        one_a_call = all(map(_alike, calls)) and not _alike(torch.stack(calls))
        expect(not one_a_call, "16 equal stacks come out all alike, and different at the next call")
    check_module(rules, make, in_order, {"pixels": setting.pixels(7)})


def check_distraction(rules: Rules, make: Make, setting: Setting) -> None:
    """A distraction keeps shape and dtype of [C, H, W], leaves its input alone, and depends on nothing but its arguments."""
    frames = setting.pixels(4)[:, 0]
    half = torch.arange(setting.frames.width) < setting.frames.width // 2

    def play(distraction: Distraction) -> list[Tensor]:
        background = half.expand(setting.frames.height, -1)
        return [distraction(frames[i], lambda: background, 7 + i // 2, i) for i in (0, 1, 2, 3, 0)]

    before = frames.clone()
    with rules.rule("output", "keep the shape and dtype of the frame (round, clamp to 0..255, .to(torch.uint8))"):
        shown = play(make(0))
        for frame in shown:
            expect_tensor("the distracted frame", frame, tuple(frames.shape[1:]), setting.dtype)
    if "output" in rules.broken:
        return
    with rules.rule("input", "write to a new tensor, not into `frame`"):
        expect(torch.equal(frames, before), "it changes the frame that it is given")
    with rules.rule("no state", "draw from a generator made of the seed, `episode` and `step`; keep nothing from call to call"):
        expect(torch.equal(shown[0], shown[4]), "the same frame, episode and step come out different at a later call")
        expect(all(map(torch.equal, shown, play(make(0)))), "made anew, it shows the same frames differently")


def check_planner(rules: Rules, make: Make, setting: Setting) -> None:
    """A planner finds, for each env by itself, actions that score higher than random ones."""
    wanted = setting.action(ENVS, STEPS)

    def score(actions: Tensor) -> Tensor:
        asked.append(actions)
        missed = (actions != wanted[:, None]).float() if actions.ndim == 3 else (actions - wanted[:, None]).abs().sum(dim=-1)
        return -missed.sum(dim=-1)

    asked: list[Tensor] = []
    given = {
        "proposals": setting.action(ENVS, PROPOSED, STEPS),
        "previous": setting.action(ENVS, STEPS),
        "going_on": torch.arange(ENVS) % 2 == 0,
    }

    def planned(component: object, inputs: Inputs) -> dict[str, Tensor]:
        return {ACTION: component(score, **inputs)}  # type: ignore[operator]

    cases = {"": given, " without proposals": {**given, "proposals": given["proposals"][:, :0]}}
    with rules.rule("output", "return one sequence for each env, in the dtype and within the bounds of action_spec"):
        for what, inputs in cases.items():
            plan = planned(make(0), inputs)[ACTION]
            expect_tensor(f"the plan{what}", plan, wanted.shape, setting.action_spec.dtype)
            inside = all(setting.action_spec.is_in(action) for action in plan.flatten(0, 1))
            expect(inside, f"an action of the plan{what} is outside the bounds of its spec")
    with rules.rule("score", "ask the score for sequences [N, S, H, ...] of actions within their bounds, S as large as you like"):
        for actions in asked:
            expect_tensor("a batch of sequences", actions, (ENVS, actions.shape[1], *wanted.shape[1:]), setting.action_spec.dtype)
        inside = all(setting.action_spec.is_in(action) for actions in asked for action in actions.flatten(0, 2)[:500])
        expect(inside, "an action that it asks about is outside the bounds of its spec")
    if rules.broken:
        return
    with rules.rule("search", "the plan should score higher than sequences drawn at random"):
        torch.manual_seed(0)
        random = score(setting.action(ENVS, 200, STEPS)).mean(dim=1)
        found = score(planned(make(0), cases[" without proposals"])[ACTION][:, None])[:, 0]
        expect((found > random).all(), f"plans scored {found.tolist()}, where random sequences have a mean of {random.tolist()}")
    check_module(rules, make, planned, given)


def check_curiosity(rules: Rules, make: Make, setting: Setting) -> None:
    """A curiosity maps the `STEP_INPUTS` that ``surprise`` names to [M] ≥ 0, without random numbers; its loss trains all its weights."""
    with rules.rule("output", "surprise returns one number a step, at least 0: sum or average over all but the first dimension"):
        bonus = Bonus("it", make(0), 1.0, ReturnScale(1, 0.9, False), lambda *_: torch.rand(1))
        for batch in BATCHES:
            given = _steps(setting, batch)
            surprise = bonus.curiosity.surprise(**{name: given[name] for name in bonus.wanted})
            expect_tensor(f"the surprise of {batch} steps", surprise, (batch,), torch.float32)
            expect((surprise >= 0).all(), "a surprise is negative")
    if "output" in rules.broken:
        return
    with rules.rule("repetition", "surprise depends on its inputs and weights alone: count and average in `observe(frames)`, draw nothing"):
        torch.manual_seed(1)
        expect_same("surprises of the same steps, at two calls", surprise, bonus.curiosity.surprise(**{n: given[n] for n in bonus.wanted}))

    def losses(curiosity: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": curiosity.loss(**{name: inputs[name] for name in bonus.learnt_from})} if bonus.learning else {}

    def everything(curiosity: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"surprise": curiosity.surprise(**{name: inputs[name] for name in bonus.wanted}), **losses(curiosity, inputs)}

    inputs = _steps(setting, 7)
    with rules.rule("loss", "`loss` returns a scalar; without it, nothing trains weights: freeze them with requires_grad_(False)"):
        if bonus.learning:
            expect_tensor("the loss of 7 steps", losses(make(0), inputs)["loss"], (), torch.float32)
        else:
            expect(not bonus.parameters, "it has weights to train but no `loss`")
    if "loss" in rules.broken:
        return
    if bonus.parameters:
        check_gradients(rules, make, losses, inputs, [])
    check_module(rules, make, everything, inputs)


def _steps(setting: Setting, count: int) -> dict[str, Tensor]:
    """All of `STEP_INPUTS`."""
    return {
        "pixels": setting.pixels(count),
        "pixels_next": setting.pixels(count),
        "action": setting.action(count),
        "distance": torch.rand(count),
    }


def _alike(rows: Tensor) -> bool:
    return torch.equal(rows, rows[:1].expand_as(rows))


def _check_finite(rules: Rules, component: Any, call: Call, cases: Mapping[str, Inputs]) -> None:
    """Rule ``finite``: losses and gradients are finite if embeddings have collapsed or agree."""
    with rules.rule("finite", "add a small ε inside roots and logarithms and to denominators"):
        for what, inputs in cases.items():
            leaves = {name: tensor.clone().requires_grad_(tensor.is_floating_point()) for name, tensor in inputs.items()}
            loss = flat(call(component, leaves))[""]
            expect(loss.isfinite().all(), f"the loss {what} is not finite")
            if loss.requires_grad:
                loss.sum().backward()
            bad = [name for name, leaf in leaves.items() if leaf.grad is not None and not leaf.grad.isfinite().all()]
            expect(not bad, f"the gradient of the loss {what} is not finite")


def minibatch(setting: Setting, batch: int) -> dict[str, Tensor]:
    """All of `INPUTS`; predictions over several steps have more rows than the batch."""
    rows = 2 * batch - 1
    return {
        "s_x": setting.embeddings(batch),
        "s_x_next": setting.embeddings(batch),
        "s_y_hat": setting.embeddings(rows),
        "s_y": setting.embeddings(rows),
        "pixels": setting.pixels(batch),
        "action": setting.action(batch),
        "reward": torch.randn(batch, 1),
        "s_hat": setting.embeddings(rows),
        "s_hat_action": setting.action(rows),
        "s_hat_reward": torch.randn(rows, 1),
        "s_hat_terminated": torch.arange(rows)[:, None] % 3 == 0,
    }

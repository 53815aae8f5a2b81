"""The rules for algorithms, on-policy and off-policy."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.protocols import ACTION, PIXELS, S_X, OffPolicyAlgorithm, OnPolicyAlgorithm, Term
from jepakit.storage.unsaved import changed, plain_state
from jepakit.testing.modules import Inputs, Make, check_module, parameters_of, shake
from jepakit.testing.rules import Rules, expect, expect_tensor
from jepakit.testing.settings import Setting
from jepakit.training.terms import among_others

ENVS, STEPS = 4, 3


def check_algorithm(rules: Rules, make: Make, setting: Setting) -> None:
    """An algorithm acts on s_x; its losses train s_x and its own heads."""
    trial = Trial(setting)
    online = setting.encoder()

    def made(seed: int) -> Any:
        return make(seed, encoder=online)

    algorithm = made(0)
    with rules.rule("protocol", "see jepakit.protocols.OnPolicyAlgorithm and OffPolicyAlgorithm"):
        protocol = OffPolicyAlgorithm if _is_off_policy(algorithm) else OnPolicyAlgorithm
        lacking = sorted(name for name in _members(protocol) if not hasattr(algorithm, name))
        expect(not lacking, f"as {protocol.__name__} it lacks `{', '.join(lacking)}`")
    if "protocol" in rules.broken:
        return
    with rules.rule("acting", "policy_head() reads `s_x` and writes `action`, in the dtype and within the bounds of action_spec"):
        head = algorithm.policy_head()
        expect(list(head.in_keys) == [S_X], f"its in_keys should be ['s_x'] and are {list(head.in_keys)}")
        acted = head(TensorDict({S_X: setting.embeddings(ENVS)}, [ENVS]))
        expect(ACTION in acted, f"it writes {', '.join(sorted(map(str, acted.keys())))}, but no `action`")
        expect_tensor("`action`", acted[ACTION], (ENVS, *setting.action_spec.shape), setting.action_spec.dtype)
        expect(all(setting.action_spec.is_in(action) for action in acted[ACTION]), "an action is outside the bounds of its spec")
    if "acting" in rules.broken:
        return
    with rules.rule("greedy", "follow torchrl's exploration_type(), as ProbabilisticTensorDictModule does"):
        embeddings = setting.embeddings(64)
        with set_exploration_type(ExplorationType.DETERMINISTIC):
            once, again = (head(TensorDict({S_X: embeddings}, [64]))[ACTION] for _ in range(2))
        expect(torch.equal(once, again), "under ExplorationType.DETERMINISTIC the same s_x gave two actions")
    with rules.rule("losses", "losses(minibatch) returns two mappings by name: terms (Terms of finite scalars), and scalars to log"):
        terms, figures = trial.losses(algorithm, setting.embeddings(ENVS * STEPS))
        expect(isinstance(terms, Mapping), f"the terms should be a mapping by name and are {terms}")
        among_others(terms)
        for name, term in terms.items():
            expect(isinstance(term, Term), f"`{name}` should be a jepakit.Term(weight, loss) and is {type(term).__name__}")
            expect_tensor(f"the term `{name}`", term.loss, (), torch.float32)
        for name, figure in figures.items():
            expect_tensor(f"the figure `{name}`", figure, ())
    if "losses" in rules.broken or not terms:  # one without losses only acts
        return
    _check_gradients(rules, made, trial)
    if _is_off_policy(algorithm):
        _check_off_policy(rules, algorithm, trial, online)
    with rules.rule("schedule", "anneal(progress) takes a float from 0 to 1; without schedules it does nothing"):
        for progress in (0.0, 0.5, 1.0):
            algorithm.anneal(progress)
    check_module(rules, made, trial.everything, {S_X: setting.embeddings(ENVS * STEPS)})


class Trial:
    """One small batch of experience in which episodes continue, terminate and are truncated."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.embedder = setting.encoder().requires_grad_(False)
        ends = torch.zeros(ENVS, STEPS, 1, dtype=torch.bool)
        self.terminated, self.truncated = ends.clone(), ends.clone()
        self.terminated[0, 1], self.truncated[1, 1] = True, True
        self.pixels = setting.pixels(2, ENVS, STEPS)
        self.reward = torch.randn(ENVS, STEPS, 1)

    def losses(self, algorithm: Any, s_x: Tensor, prioritized: bool = False) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """The algorithm's losses for a minibatch [B] with ``s_x`` [B, D]."""
        return algorithm.losses(self.minibatch(algorithm, s_x, prioritized))

    def minibatch(self, algorithm: Any, s_x: Tensor, prioritized: bool = False) -> TensorDictBase:
        """A minibatch [B] with ``algorithm``'s own actions."""
        device = s_x.device
        embedder = copy.deepcopy(self.embedder).to(device)
        pixels, following = self.pixels.to(device)
        ends = {"terminated": self.terminated, "truncated": self.truncated, "done": self.terminated | self.truncated}
        after = TensorDict({PIXELS: following, "reward": self.reward, **ends}, [ENVS, STEPS], device=device)
        with torch.no_grad():
            acted = algorithm.policy_head()(TensorDict({S_X: embedder(pixels)}, [ENVS, STEPS], device=device))
        rollout = acted.exclude(S_X).update({PIXELS: pixels, "next": after})
        if not _is_off_policy(algorithm):
            prepared = algorithm.prepare(rollout, embedder)
            expect(prepared.batch_size == rollout.batch_size, f"prepare returned [{prepared.batch_size}] for [{ENVS}, {STEPS}]")
            return prepared.exclude(PIXELS, "next").flatten().set(S_X, s_x)
        n = min(2, algorithm.n_step)
        rows = TensorDict(
            {S_X: s_x, ACTION: rollout[ACTION].flatten(0, 1), "next": after.exclude(PIXELS, "truncated").flatten()}, s_x.shape[:1]
        )
        rows["next", S_X] = algorithm.bootstrap_encoder.to(device)(following.flatten(0, 1)).detach()
        rows["steps_to_next_obs"] = torch.full((len(s_x), 1), n, device=device)
        return rows.set("priority_weight", torch.rand(len(s_x), device=device)) if prioritized else rows

    def everything(self, algorithm: Any, inputs: Inputs) -> Mapping[str, Tensor]:
        """Actions for ``inputs["s_x"]``, and the losses."""
        s_x = inputs[S_X]
        with set_exploration_type(ExplorationType.DETERMINISTIC), torch.no_grad():
            acted = algorithm.policy_head()(TensorDict({S_X: s_x}, s_x.shape[:1]))
        terms, _ = self.losses(algorithm, s_x)
        return {ACTION: acted[ACTION], **{name: term.loss for name, term in terms.items()}}


def _check_gradients(rules: Rules, make: Make, trial: Trial) -> None:
    """Rule ``gradients``: with ∇, s_x receives a gradient; without ∇, the heads still learn."""
    with rules.rule("gradients", "do not detach s_x (the learner does, if gradients_to_encoder is false)"):
        learns = any(parameter.requires_grad for _, parameter in parameters_of(make(0)))
        for nabla in (True, False) if learns else (True,):
            learning = make(0)
            expect(isinstance(learning.gradients_to_encoder, bool), "gradients_to_encoder should be a bool")
            shake(learning)
            s_x = trial.setting.embeddings(ENVS * STEPS).requires_grad_(nabla)
            terms, _ = trial.losses(learning, s_x)
            torch.stack([term.weight * term.loss for term in terms.values()]).sum().backward()
            reached = [parameter.grad for _, parameter in parameters_of(learning) if parameter.grad is not None]
            expect(
                not learns or any(grad.any() for grad in reached),
                f"no gradient reaches its own parameters{'' if nabla else ' when s_x is detached'}",
            )
            expect(all(grad.isfinite().all() for grad in reached), "a gradient is not finite")
            expect(not nabla or (s_x.grad is not None and s_x.grad.any()), "no gradient reaches `s_x`")


def _check_off_policy(rules: Rules, algorithm: Any, trial: Trial, online: nn.Module) -> None:
    with rules.rule("bootstrap_encoder", "copy it with copy.deepcopy(encoder).requires_grad_(False); update it in updated(encoder)"):
        own = {id(parameter) for _, parameter in parameters_of(algorithm)}
        expect(not own & {id(parameter) for parameter in online.parameters()}, "the online encoder's parameters are registered as its own")
        trained = [
            name for name, parameter in algorithm.bootstrap_encoder.named_parameters() if parameter.requires_grad and id(parameter) in own
        ]
        expect(not trained, f"its parameter `{trained[0] if trained else ''}` would be trained")
        s_x = algorithm.bootstrap_encoder(trial.setting.pixels(5))
        expect_tensor("bootstrap_encoder's s_x", s_x, (5, trial.setting.width))
    with rules.rule("update", "updated(encoder) updates the copy under torch.no_grad(), and does not change the encoder"):
        before, plain = copy.deepcopy(online.state_dict()), plain_state(algorithm)
        algorithm.updated(online)
        written = [name for name, tensor in online.state_dict().items() if not torch.equal(tensor, before[name])]
        expect(not written, f"it changes the online encoder's `{written[0] if written else ''}`")
        unsaved = changed(plain, plain_state(algorithm))
        expect(not unsaved, f"it changes `{unsaved[0] if unsaved else ''}`, which no checkpoint holds: keep it in a buffer")
    with rules.rule("priorities", "for prioritised replay losses(minibatch) writes minibatch['td_error'], [B] or [B, 1]"):
        rows = trial.minibatch(algorithm, trial.setting.embeddings(ENVS * STEPS), prioritized=True)
        algorithm.losses(rows)
        error = rows.get("td_error", None)
        expect(isinstance(error, Tensor) and error.numel() == len(rows), "given `priority_weight`, it writes no `td_error` [B]")


def _is_off_policy(algorithm: Any) -> bool:
    return any(hasattr(algorithm, name) for name in ("updated", "bootstrap_encoder", "updates_per_step"))


def _members(protocol: type) -> set[str]:
    """The names that a Protocol and its bases require."""
    declared = [name for base in protocol.__mro__ for name in (*vars(base), *getattr(base, "__annotations__", {}))]
    return {name for name in declared if not name.startswith("_")}

"""The rules for envs, and for sources of recorded data in their place."""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Bounded, Categorical
from torchrl.envs import EnvBase
from torchrl.envs.utils import check_env_specs, step_mdp

from jepakit.components.shared.recordings import check_fit, check_recording
from jepakit.protocols import ACTION, EPISODE_LENGTH, EPISODE_OVER, EPISODE_RETURN, LEARNED_RETURN, PIXELS, REWARD, Env, Recording, Source
from jepakit.testing.modules import Make
from jepakit.testing.rules import Rules, expect, expect_same, expect_tensor, name_of
from jepakit.testing.settings import Setting

STEPS = 24  #: minimum; continues until an episode has ended
MOST_STEPS = 500


def check_env(rules: Rules, make: Make, setting: Setting) -> None:
    """An env is a batched EnvBase that returns stacks of frames, returns and lengths in new tensors."""
    env = make(0)
    with rules.rule("protocol", "derive from torchrl.envs.EnvBase; see jepakit.protocols.Env"):
        expect(isinstance(env, EnvBase), f"{type(env).__name__} is not a TorchRL EnvBase")
        lacking = [name for name in ("frame_shape", "seconds", "single_action_spec") if not hasattr(env, name)]
        expect(not lacking and isinstance(env, Env), f"it has no `{', '.join(lacking)}`")
        expect(len(env.batch_size) == 1, f"its batch_size should be [N] and is {list(env.batch_size)}")
        lacking = [key for key in (PIXELS, EPISODE_RETURN, EPISODE_LENGTH) if key not in env.observation_spec]
        expect(not lacking, f"its observation_spec lacks `{', '.join(lacking)}`")
        kinds = isinstance(env.single_action_spec, Categorical | Bounded)
        expect(kinds, f"single_action_spec should be Categorical or Bounded and is {type(env.single_action_spec).__name__}")
    if "protocol" in rules.broken:
        env.close()
        return
    number = env.batch_size[0]
    with rules.rule("specs", "make observation_spec, reward_spec and done_spec match what _reset and _step return"):
        dtype = torch.float32 if env.frame_shape.height == 1 else torch.uint8
        now = env.reset()
        expect_tensor("`pixels`", now[PIXELS], (number, *env.frame_shape), dtype)
        step = env.step(_act(env, now))["next"]
        expect_tensor("`reward`", step[REWARD], (number, 1), torch.float32)
        for key in ("done", "terminated", "truncated"):
            expect_tensor(f"`{key}`", step[key], (number, 1), torch.bool)
        for key, spec in env.observation_spec.items(True, True):
            for found in (now[key], step[key]):
                says = f"its spec says {name_of(spec.dtype)} {list(spec.shape)}"
                expect(spec.is_in(found), f"`{key}` is {name_of(found.dtype)} {list(found.shape)}; {says}")
        check_env_specs(env)
    if "specs" in rules.broken:
        env.close()
        return
    with rules.rule("reset", "_reset(tensordict) resets the envs that tensordict['_reset'] marks (all envs if it is absent)"):
        _check_reset(env)
    steps, held = _play(env, 0)
    with rules.rule("fresh tensors", "return clones: a collector keeps references, and an episode's last stack must outlive the reset"):
        changed = [key for key, tensor, then in held if not torch.equal(tensor, then)]
        expect(not changed, f"`{changed[0] if changed else ''}` of an earlier step changed at a later one")
    if not rules.broken:
        _check_episodes(rules, steps)
    with rules.rule("seed", "derive all randomness from the seed of the constructor and of _set_seed"):
        again, _ = _play(env, 0)
        _expect_same_play("after set_seed(0) twice", steps, again)
        other = make(0)
        _expect_same_play("of two envs with one seed", _play(make(0), None)[0], _play(other, None)[0])
        other.close()
    with rules.rule("close", "close() must work, and so must a second close()"):
        env.close(raise_if_closed=False)


def _act(env: EnvBase, now: TensorDictBase) -> TensorDictBase:
    return now.set(ACTION, env.action_spec.rand())


def _play(env: EnvBase, seed: int | None) -> tuple[TensorDictBase, list[tuple[str, Tensor, Tensor]]]:
    """Steps [N, T] of random actions; and each tensor of each observation, with a copy made when the env returned it."""
    if seed is not None:
        env.set_seed(seed)
    torch.manual_seed(0)
    steps: list[TensorDictBase] = []
    held: list[tuple[str, Tensor, Tensor]] = []

    def handed_out(observation: TensorDictBase) -> TensorDictBase:
        held.extend((key, observation[key], observation[key].clone()) for key in (PIXELS, EPISODE_RETURN, EPISODE_LENGTH))
        return observation

    now = handed_out(env.reset())
    ended = False
    while len(steps) < STEPS or (not ended and len(steps) < MOST_STEPS):
        step = env.step(_act(env, now))
        ends = bool(step["next", "done"].any())
        ended |= ends
        watched = ends or len(steps) < STEPS  # copying everything would take too much memory
        if watched:
            handed_out(step["next"])
        steps.append(step.clone())
        now = env.maybe_reset(step_mdp(step))
        if watched:
            handed_out(now)
    return TensorDict.stack(steps, dim=1), held


def _expect_same_play(what: str, one: TensorDictBase, other: TensorDictBase) -> None:
    for key in (PIXELS, REWARD, "done"):
        expect_same(f"`{key}` {what}", one["next", key], other["next", key])


def _check_episodes(rules: Rules, steps: TensorDictBase) -> None:
    """Check how a step changes stack, return and length."""
    after = steps["next"]
    with rules.rule("stacks", "drop the oldest frame and append the newest: torch.cat([stacks[:, 1:], frame[:, None]], dim=1)"):
        shifted = torch.equal(after[PIXELS][:, :, :-1], steps[PIXELS][:, :, 1:])
        expect(shifted, "the older frames of a next stack should be the newer ones of the stack before it")
    with rules.rule("episodes", "start at 0 on reset and count every step, including the last"):
        expect_same("episode_length", after[EPISODE_LENGTH], steps[EPISODE_LENGTH] + 1)
        learned = LEARNED_RETURN if LEARNED_RETURN in after else EPISODE_RETURN
        expect_same(learned, after[learned], steps[learned] + after[REWARD])
        over = after.get(EPISODE_OVER, after["done"])
        expect(bool((after["done"] | ~over).all()), "an episode that is over should be done, too")
        begins = over[:, :-1].squeeze(-1)
        for key in {EPISODE_RETURN, EPISODE_LENGTH, learned}:
            first = torch.cat((steps[key][:, :1].flatten(), steps[key][:, 1:][begins].flatten()))
            expect(not first.any(), f"{key} should be 0 at an episode's start")
        expect(torch.equal(after["done"], after["terminated"] | after["truncated"]), "done should be terminated or truncated")
    with rules.rule("episodes", "pass a field that makes episodes short: the check must also see an episode's end"):
        expect(after["done"].any(), f"no episode ended in {MOST_STEPS} steps of random actions")


def _check_reset(env: EnvBase) -> None:
    """TorchRL keeps the other envs' observations, so only their next step shows whether they were left alone."""
    first = env.step(_act(env, env.reset()))["next"].clone()
    second = env.step(_act(env, first.clone()))["next"].clone()
    before = env.step(_act(env, env.reset()))["next"].clone()
    only = torch.zeros(*env.batch_size, 1, dtype=torch.bool)
    only[0] = True
    now = env.reset(before.set("_reset", only))
    expect(not now["done"].any(), "after a reset no env should be done")
    after = env.step(_act(env, now))["next"]
    expected = torch.where(only, first[EPISODE_LENGTH], second[EPISODE_LENGTH])
    expect_same("episode_length after a reset of the first env alone and the expected one", after[EPISODE_LENGTH], expected)


def check_source(rules: Rules, make: Make, setting: Setting) -> None:
    """A source loads whole episodes, in the env's frames and actions, and the same each time."""
    source = make(0)
    with rules.rule("protocol", "give it `lacks` and `load()`, as `jepakit.Source` has them"):
        expect(isinstance(source, Source), "`load` or `lacks` is missing")
        odd = set(source.lacks) - {"action", "reward", "terminated"}
        expect(not odd, f"`lacks` names {', '.join(sorted(map(str, odd)))}; it may name action, reward and terminated")
    if rules.broken:
        return
    before = torch.get_rng_state()
    with rules.rule("episodes", "return a `jepakit.Recording`: each frame once, an episode's steps one after the other, the last one done"):
        recording = source.load()
        expect(isinstance(recording, Recording), f"`load` returns {type(recording).__name__}")
        check_recording(recording)
    if rules.broken:
        return
    with rules.rule("frames and actions", "resize frames to those of `frames`, and refuse actions of another kind with a ValueError"):
        check_fit(recording, setting.frames, setting.action_spec)
    with rules.rule("repetition", "load the same data each time, and draw random numbers from a generator of your own"):
        again = source.load()
        expect(all(torch.equal(one, other) for one, other in zip(recording, again, strict=True)), "a second `load` returns other data")
        expect(torch.equal(before, torch.get_rng_state()), "it draws from torch's global generator")

"""Everything that determines how a run continues survives a checkpoint."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tensordict import TensorDict
from torch import Tensor, nn
from torchrl.data import Categorical

from jepakit.components.collectors.direct import Direct
from jepakit.components.predictors.mlp import MLPPredictor
from jepakit.components.regularizers.variance import Variance
from jepakit.diagnostics.collapse import CollapseWatch
from jepakit.diagnostics.embedding import EmbeddingProbe
from jepakit.errors import UserError
from jepakit.machine.generators import set_generators
from jepakit.protocols import FrameShape
from jepakit.recipe.schema import Replay as Settings
from jepakit.storage.checkpoint import load_tensors, save_checkpoint
from jepakit.storage.folder import RunFolder
from jepakit.training.experience.frame_log import FrameLog
from jepakit.training.experience.replay import Replay
from jepakit.training.learner import Learner
from jepakit.training.monitoring.diagnoses import Diagnoses
from jepakit.training.state import History, capture, load_weights, put_back, weights
from jepakit.training.terms import WeightedTerm

MakeLoop = Callable[..., Any]


class BatchNormEncoder(nn.Module):
    """Has float and integer buffers, one that no state_dict holds, a parameter without dimensions, and a weight that is not contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 8 * 12, 8))
        self.layers.to(memory_format=torch.channels_last)
        self.temperature = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.flatten(-4, -3).float() / 255  # [*, K·C, H, W]
        self.calls += 1
        s_x = self.layers(images.reshape(-1, *images.shape[-3:])) * (self.temperature + self.calls / 1000)
        return s_x.reshape(*images.shape[:-3], -1)


class Env:
    """Counts its calls and records their arguments."""

    def __init__(self) -> None:
        self.count, self.seed = 0, None

    def set_seed(self, seed: int) -> None:
        self.seed = seed

    def restores_exactly(self) -> bool:
        return True

    def snapshot(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "stacks": torch.full((2, 3), self.count, dtype=torch.uint8),
            "nested": [{"x": torch.tensor(1.5)}, None],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        self.count, self.restored = snapshot["count"], snapshot


@pytest.fixture
def make_loop(make_learner: Any, tmp_path: Path) -> MakeLoop:
    """The parts of a training loop that its state needs."""

    def make(learner: Learner | None = None, exact: bool = True) -> Any:
        learner, env, collector = learner or make_learner(), Env(), Direct()
        collector.acting = acting = cast(Any, SimpleNamespace(env=env, seed=7))
        return SimpleNamespace(
            recipe=SimpleNamespace(seed=7, learns=True, total_steps=1000),
            env=env,
            collector=collector,
            acting=acting,
            learner=learner,
            folder=RunFolder(tmp_path),
            watch=CollapseWatch(1e-5),
            probe=EmbeddingProbe(learner.encoder, learner.embedding_width),
            diagnoses=Diagnoses({}, learner, every=1),
            history=History(),
            frames=None,
            stepped=True,
            exact=exact,
            lost=False,
            generators=None,
        )

    return make


def save(loop: Any) -> Path:
    return save_checkpoint(loop.folder.checkpoints, capture(loop))


def tensors(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in (*learner.parts.named_parameters(), *learner.parts.named_buffers())}


def adam(learner: Learner) -> dict[str, Tensor]:
    named = learner.trained.named_parameters()
    return {f"{name}.{key}": value for name, parameter in named for key, value in learner.optimizer.state[parameter].items()}


@pytest.mark.parametrize("with_batch_norm", [False, True])
def test_updates_after_a_restore_are_bit_identical(make_learner: Any, collect: Any, make_loop: MakeLoop, with_batch_norm: bool) -> None:
    def make(seed: int) -> Learner:
        torch.manual_seed(seed)
        terms = {"regularizer/variance": WeightedTerm(Variance(), 1.0)}
        return make_learner(encoder=BatchNormEncoder() if with_batch_norm else None, terms=terms, seed=seed, max_grad_norm=1.0)

    trained, fresh = make(seed=0), make(seed=1)
    batch = collect(trained)
    trained.learn(batch.clone(), progress=0.0)

    assert put_back(make_loop(fresh), save(make_loop(trained))) == []
    assert fresh.updates == trained.updates == 6

    def same() -> None:
        for one, other in ((tensors(trained), tensors(fresh)), (adam(trained), adam(fresh))):
            assert one.keys() == other.keys()
            for name in one:
                assert torch.equal(one[name], other[name]), name

    same()
    metrics = []
    for learner in (trained, fresh):
        torch.manual_seed(5)
        metrics.append(learner.learn(batch.clone(), progress=0.5))
    assert metrics[0] == metrics[1]
    same()


def test_a_checkpoint_before_the_first_update_is_restored(make_learner: Any, make_loop: MakeLoop) -> None:
    before, after = make_learner(seed=0), make_learner(seed=1)
    put_back(make_loop(after), save(make_loop(before)))
    assert all(torch.equal(tensor, tensors(after)[name]) for name, tensor in tensors(before).items())
    assert not adam(after)


def test_counters_history_and_env_state_are_restored_exactly(make_loop: MakeLoop) -> None:
    loop = make_loop()
    history = loop.history
    history.env_steps, history.episodes = 3200, 41
    history.returns.extend(0.1 * n for n in range(150))
    history.return_curve = [1 / 3, 2 / 3]
    history.latest = {"env_steps": 3200, "return_last_100": None, "loss/jepa": 1e-7}
    loop.watch.collapsed, loop.watch.collapsed_at = True, 1600
    loop.probe.recent = torch.arange(12, dtype=torch.uint8).reshape(2, 6)
    loop.learner.bad_updates, loop.learner.first_bad = 4, "loss/jepa"
    loop.env.count = 9
    for n in range(3):
        loop.folder.metric("train", n=n)
    at = loop.folder.metrics_bytes()
    path = save(loop)
    loop.folder.metric("train", n=3)
    wall = json.loads((path / "state.json").read_text())["wall_s"]
    loop.folder.close()

    other = make_loop()
    put_back(other, path)
    assert vars(other.history) == vars(history)
    assert other.history.returns.maxlen == 100
    assert vars(other.watch) == vars(loop.watch)
    assert (other.learner.bad_updates, other.learner.first_bad) == (4, "loss/jepa")
    assert torch.equal(other.probe.recent, loop.probe.recent)
    assert (other.env.count, other.env.seed) == (9, None)
    assert torch.equal(other.env.restored["stacks"], torch.full((2, 3), 9, dtype=torch.uint8))
    assert other.env.restored["nested"][1] is None
    assert other.env.restored["nested"][0]["x"] == 1.5
    metrics = loop.folder.path / "metrics.jsonl"
    assert metrics.stat().st_size == at
    other.folder.metric("train", n=3)
    assert [json.loads(line)["n"] for line in metrics.read_text().splitlines()] == [0, 1, 2, 3]
    assert other.folder.wall_s >= wall > 0  # the wall-clock time continues from the checkpoint


def test_every_random_generator_continues_where_it_was(make_loop: MakeLoop) -> None:
    def draw() -> list[float]:
        numbers = [random.random(), random.gauss(0, 1), np.random.random(), np.random.standard_normal()]
        return [*numbers, torch.rand(()).item(), torch.randn(()).item()]

    draw()  # normal draws leave a second number in a cache
    path = save(make_loop())
    expected = [draw() for _ in range(3)]
    other = make_loop()
    put_back(other, path)
    draw()
    set_generators(other.generators)
    assert [draw() for _ in range(3)] == expected


@pytest.mark.parametrize(("before", "now"), [(False, False), (True, False), (False, True)])
def test_an_env_that_cannot_be_restored_begins_new_episodes(make_loop: MakeLoop, before: bool, now: bool) -> None:
    loop = make_loop(exact=before)
    loop.history.env_steps, loop.env.count = 100, 3
    path, other = save(loop), make_loop(exact=now)
    (lost,) = put_back(other, path)
    assert "new episodes begin" in lost
    assert (other.env.count, other.env.seed) == (0, 107)


def test_replay_does_not_join_an_interrupted_episode_to_the_next(make_loop: MakeLoop, make_learner: Any) -> None:
    """Env 0 was in the middle of an episode; env 1 had just ended one."""
    algorithm: Any = SimpleNamespace(n_step=3, gamma=0.5, minibatch_size=4, learning_starts=0, updates_per_step=1.0)
    shape = FrameShape(2, 1, 1, 1)

    def make() -> Any:
        loop = make_loop(make_learner(), exact=False)
        loop.learner.experience = Replay(algorithm, 2, shape, 2, Settings(capacity=40))
        loop.frames = FrameLog(loop.folder.replay, loop.learner.experience)
        return loop

    def batch(begin: int, first: int) -> TensorDict:
        """Two steps of each env. Frame ``begin + t`` is shown after t steps; ``first`` is the older frame of the first stack."""
        shown = torch.tensor([[first, begin], [begin, begin + 1], [begin + 1, begin + 2]], dtype=torch.uint8)
        stacks = shown.reshape(3, 2, 1, 1, 1).expand(2, 3, 2, 1, 1, 1)
        done = torch.tensor([[[False], [False]], [[False], [True]]])
        following = {"pixels": stacks[:, 1:], "reward": torch.ones(2, 2, 1), "done": done, "terminated": done}
        return TensorDict({"pixels": stacks[:, :-1], "action": torch.zeros(2, 2), "next": following}, batch_size=[2, 2])

    loop = make()
    loop.learner.experience.extend(batch(10, first=10))
    path, other = save(loop), make()
    put_back(other, path)
    replay = other.learner.experience
    replay.extend(batch(20, first=20))  # new episodes
    window, steps = replay.at(torch.tensor([0, 1, 4]))  # both envs' first steps, and env 0's first after the interruption
    assert window["pixels"].flatten(2).tolist() == [[[10, 10], [10, 11], [11, 12]]] * 2 + [[[20, 20], [20, 21], [21, 22]]]
    assert steps["next", "reward"].flatten().tolist() == [1.5, 1.5, 1.5]
    assert steps["next", "pixels"].flatten(1).tolist() == [[11, 12], [11, 12], [21, 22]]
    assert steps["next", "terminated"].flatten().tolist() == [False, True, False], "interrupted, not terminated"
    assert steps["next", "done"].flatten().tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"jepa": None}, "predictor|target"),
        ({"jepa": {"predictor": MLPPredictor(8, Categorical(3), hidden=9)}}, "predictor"),
        ({"hidden": (5,)}, "algorithm"),
        ({"encoder": BatchNormEncoder()}, "encoder"),
    ],
)
def test_a_checkpoint_of_other_components_is_refused(make_learner: Any, make_loop: MakeLoop, other: dict[str, Any], names: str) -> None:
    path = save(make_loop())
    learner = make_learner(**other, seed=1)
    before = copy.deepcopy(tensors(learner))
    for load in (lambda: load_weights(path, learner), lambda: put_back(make_loop(learner), path)):
        with pytest.raises(UserError, match=rf"does not fit the recipe's components; .*({names})\."):
            load()
    assert all(torch.equal(tensor, tensors(learner)[name]) for name, tensor in before.items())  # no weight was loaded


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("returns", 3), ("env_steps", None), ("env", {"a": 1}), ("metrics_bytes", "x"), ("probe", {"$tensor": "no"})],
        *[("metrics_bytes", -5), ("wall_s", float("nan")), ("updates", None), ("returns", ["a"]), ("return_curve", [None])],
        *[("latest", {"embedding/variance": "x"}), ("generators", {"python": 5})],
    ],
)
def test_an_invalid_or_missing_field_of_the_state_is_a_user_error(make_loop: MakeLoop, name: str, value: Any) -> None:
    path = save(make_loop())
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | {name: value}))
    with pytest.raises(UserError, match="is not a checkpoint of this recipe"):
        put_back(make_loop(), path)
    state.pop(name)
    (path / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match=f"is not a checkpoint of this recipe: `{name}`: Field required"):
        put_back(make_loop(), path)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 10_000, "null", "\udcff"])
def test_a_state_that_is_no_json_object_is_corrupt(make_loop: MakeLoop, text: str) -> None:
    path = save(make_loop())
    (path / "state.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"is corrupt: state\.json: "):
        put_back(make_loop(), path)


@pytest.mark.parametrize("change", [lambda t: t[..., :1], lambda t: t.double(), lambda _: None])
def test_optimizer_moments_of_other_weights_are_refused(make_learner: Any, collect: Any, make_loop: MakeLoop, change: Any) -> None:
    learner = make_learner()
    learner.learn(collect(learner), progress=0.0)
    path = save(make_loop(learner))
    file = path / "optimizer.safetensors"
    stored = {name: tensor.clone() for name, tensor in load_tensors(path, "optimizer").items()}
    name = max(stored, key=lambda name: (name.endswith("exp_avg"), stored[name].numel()))
    stored[name] = change(stored[name])
    save_file({name: tensor.contiguous() for name, tensor in stored.items() if tensor is not None}, file)
    with pytest.raises(UserError, match=f"optimizer.safetensors: does not fit the recipe's components; .* {name}"):
        put_back(make_loop(make_learner()), path)


def test_weights_that_are_not_finite_are_refused(make_learner: Any, make_loop: MakeLoop) -> None:
    learner = make_learner()
    path, name = save(make_loop(learner)), next(iter(weights(learner)))
    stored = {name: tensor.clone() for name, tensor in load_tensors(path, "weights").items()}
    stored[name].view(-1)[0] = float("nan")
    save_file(stored, path / "weights.safetensors")
    with pytest.raises(UserError, match=f"the weights {name} are not finite; remove it"):
        load_weights(path, learner)


def test_a_weights_file_without_tensors_is_refused(make_loop: MakeLoop) -> None:
    loop = make_loop()
    path = save(loop)
    (path / "weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"is corrupt: weights\.safetensors"):
        load_weights(path, loop.learner)
    save_file({}, path / "weights.safetensors")
    with pytest.raises(UserError, match="does not fit the recipe's components"):
        put_back(make_loop(), path)


def test_truncated_metrics_are_reported_and_not_padded(make_loop: MakeLoop) -> None:
    loop = make_loop()
    for n in range(3):
        loop.folder.metric("train", n=n)
    path = save(loop)
    metrics = loop.folder.path / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-10])
    assert put_back(make_loop(), path) == ["metrics.jsonl is 10 bytes shorter than at the checkpoint"]
    assert [json.loads(line)["n"] for line in metrics.read_text().splitlines()] == [0, 1]

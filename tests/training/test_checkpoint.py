import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchrl.data import Categorical

from jepakit.errors import UserError
from jepakit.predictors.mlp import MLPPredictor
from jepakit.regularizers.variance import Variance
from jepakit.training import checkpoint
from jepakit.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from jepakit.training.learner import Learner
from jepakit.training.terms import WeightedTerm


class BatchNormEncoder(nn.Module):
    """Has float and integer buffers, a parameter without dimensions, and a weight that is not contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 8 * 12, 8))
        self.layers.to(memory_format=torch.channels_last)
        self.temperature = nn.Parameter(torch.tensor(0.5))

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.flatten(-4, -3).float() / 255  # [*, K·C, H, W]
        s_x = self.layers(images.reshape(-1, *images.shape[-3:])) * self.temperature
        return s_x.reshape(*images.shape[:-3], -1)


def tensors(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in learner.parts.state_dict().items()}


def adam(learner: Learner) -> dict[str, Tensor]:
    named = learner.trained.named_parameters()
    return {f"{name}.{key}": value for name, parameter in named for key, value in learner.optimizer.state[parameter].items()}


@pytest.mark.parametrize("with_batch_norm", [False, True])
def test_the_next_updates_are_bit_identical_after_a_round_trip(
    make_learner: Any, collect: Any, tmp_path: Path, with_batch_norm: bool
) -> None:
    def make(seed: int) -> Learner:
        torch.manual_seed(seed)
        terms = {"regularizer/variance": WeightedTerm(Variance(), 1.0)}
        return make_learner(encoder=BatchNormEncoder() if with_batch_norm else None, terms=terms, seed=seed, max_grad_norm=1.0)

    trained, fresh = make(seed=0), make(seed=1)
    batch = collect(trained)
    trained.learn(batch.clone(), progress=0.0)

    save_checkpoint(tmp_path, trained, {"env_steps": 48, "episodes": 9})
    counters = load_checkpoint(checkpoints(tmp_path)[-1], fresh)

    assert counters == {"env_steps": 48, "episodes": 9, "updates": trained.updates}
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


def test_a_checkpoint_before_the_first_update(make_learner: Any, tmp_path: Path) -> None:
    before, after = make_learner(seed=0), make_learner(seed=1)
    load_checkpoint(save_checkpoint(tmp_path, before, {"env_steps": 0}), after)
    assert all(torch.equal(tensor, tensors(after)[name]) for name, tensor in tensors(before).items())
    assert not adam(after)


def test_the_two_newest_stay(make_learner: Any, tmp_path: Path) -> None:
    learner = make_learner()
    for env_steps in (800, 9_600, 10_400, 100_000):
        save_checkpoint(tmp_path, learner, {"env_steps": env_steps})
    assert [int(path.name) for path in checkpoints(tmp_path)] == [10_400, 100_000]
    assert sorted(tmp_path.iterdir()) == checkpoints(tmp_path)


def test_a_state_that_is_saved_already_stays_as_it_is(make_learner: Any, tmp_path: Path) -> None:
    learner = make_learner()
    for _ in range(2):  # on schedule, and because the run ends
        path = save_checkpoint(tmp_path, learner, {"env_steps": 800})
    assert checkpoints(tmp_path) == [path]


def test_a_half_written_checkpoint_is_never_seen(make_learner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner()
    whole = save_checkpoint(tmp_path, learner, {"env_steps": 800})
    written: list[Path] = []

    def disk_full_at_the_second_file(tensors: dict[str, Tensor], path: Path) -> None:
        written.append(path)
        assert checkpoints(tmp_path) == [whole]
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        path.write_bytes(b"half")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", disk_full_at_the_second_file)
        with pytest.raises(OSError, match="No space"):
            save_checkpoint(tmp_path, learner, {"env_steps": 1600})
    assert checkpoints(tmp_path) == [whole]

    again = save_checkpoint(tmp_path, learner, {"env_steps": 1600})  # what was left behind is in nobody's way
    assert checkpoints(tmp_path) == [whole, again]
    load_checkpoint(again, learner)


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"jepa": None}, "predictor|target"),
        ({"jepa": {"predictor": MLPPredictor(8, Categorical(3), hidden=9)}}, "predictor"),
        ({"hidden": (5,)}, "algorithm"),
        ({"encoder": BatchNormEncoder()}, "encoder"),
    ],
)
def test_other_components_are_refused_by_name(make_learner: Any, tmp_path: Path, other: dict[str, Any], names: str) -> None:
    path = save_checkpoint(tmp_path, make_learner(), {"env_steps": 0})
    learner = make_learner(**other, seed=1)
    before = copy.deepcopy(tensors(learner))
    with pytest.raises(UserError, match=rf"does not fit the recipe's components; .*({names})\."):
        load_checkpoint(path, learner)
    assert all(torch.equal(tensor, tensors(learner)[name]) for name, tensor in before.items())  # refused as a whole


def test_nothing_on_disk_is_a_pickle(make_learner: Any, collect: Any, tmp_path: Path) -> None:
    learner = make_learner()
    learner.learn(collect(learner), progress=0.0)
    path = save_checkpoint(tmp_path, learner, {"env_steps": 48})
    assert sorted(file.name for file in path.iterdir()) == ["counters.json", "optimizer.safetensors", "weights.safetensors"]
    for file in path.iterdir():
        content = file.read_bytes()
        assert content[:1] == b"{" or content[8:9] == b"{"  # JSON, or safetensors' JSON header after its length

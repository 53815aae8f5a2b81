import json
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from jepakit.components.targets.frozen import Frozen
from jepakit.recipe import load_recipe, recipe_id


def save(folder: Path, **parts: nn.Module) -> Path:
    """Write ``parts`` as the weights file of a run's checkpoint, and return its path."""
    whole = nn.ModuleDict(parts)
    file = folder / "weights.safetensors"
    save_file(dict(whole.named_parameters()) | dict(whole.named_buffers()), file)
    return file


def test_keeps_the_initial_encoder(encoder: nn.Module, pixels: Tensor, walk: Callable[[nn.Module], None]) -> None:
    target, expected = Frozen(encoder), encoder(pixels)
    walk(encoder)
    target.update(encoder)
    assert torch.equal(target(pixels), expected)
    assert not target(pixels).requires_grad
    assert not any(parameter.requires_grad for parameter in target.parameters())


@pytest.mark.parametrize("give", ["folder", "file"])
def test_loads_every_tensor_of_a_checkpoints_encoder(
    give: str, tmp_path: Path, encoder: nn.Module, walk: Callable[[nn.Module], None]
) -> None:
    trained = type(encoder)()
    walk(trained)
    file = save(tmp_path, encoder=trained, predictor=nn.Linear(6, 4), target=type(encoder)())

    target = Frozen(encoder, checkpoint=str(tmp_path if give == "folder" else file))

    for name, tensor in trained.state_dict().items():
        assert torch.equal(target.encoder.state_dict()[name], tensor), name
    assert not torch.equal(encoder.linear.weight, trained.linear.weight), "the online encoder keeps its own weights"
    assert not any(parameter.requires_grad for parameter in target.parameters())


def test_loads_an_encoder_and_its_projector(tmp_path: Path, encoder: nn.Module) -> None:
    save(tmp_path, encoder=type(encoder)(), projector=nn.Linear(4, 2), predictor=nn.Linear(4, 4))
    online = nn.Sequential(OrderedDict(encoder=encoder, projector=nn.Linear(4, 2)))
    loaded = Frozen(online, checkpoint=str(tmp_path))
    again = Frozen(nn.Sequential(OrderedDict(encoder=type(encoder)(), projector=nn.Linear(4, 2))), checkpoint=str(tmp_path))
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_refuses_a_missing_checkpoint_and_an_unreadable_file(tmp_path: Path, encoder: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"^checkpoint .*nowhere does not exist"):
        Frozen(encoder, checkpoint=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"^checkpoint .*weights.safetensors does not exist"):
        Frozen(encoder, checkpoint=str(tmp_path))
    (tmp_path / "weights.safetensors").write_text(json.dumps({"encoder.linear.weight": [1.0]}))
    with pytest.raises(ValueError, match=r"^checkpoint .*cannot be read as safetensors"):
        Frozen(encoder, checkpoint=str(tmp_path))


@pytest.mark.parametrize(
    ("stored", "odd"),
    [
        (nn.Linear(6, 4), "encoder.bias"),  # other names
        (None, "encoder.linear.weight"),  # another width
    ],
)
def test_refuses_a_different_encoder(stored: nn.Module | None, odd: str, tmp_path: Path, encoder: nn.Module) -> None:
    if stored is None:
        stored = type(encoder)()
        stored.linear = nn.Linear(7, 4)
    save(tmp_path, encoder=stored)
    with pytest.raises(ValueError, match=rf"^checkpoint .* holds a different encoder; first tensor that differs: {odd}$"):
        Frozen(encoder, checkpoint=str(tmp_path))


def test_refuses_an_encoder_with_extra_weights(tmp_path: Path, encoder: nn.Module) -> None:
    deeper = type(encoder)()
    deeper.more = nn.Linear(4, 4)
    save(tmp_path, encoder=deeper)
    with pytest.raises(ValueError, match=r"differs: encoder\.more\.bias$"):
        Frozen(encoder, checkpoint=str(tmp_path))


def test_the_id_depends_on_the_checkpoints_contents(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("env: {kind: gym, id: CartPole-v1}\n")

    def identity(checkpoint: Path) -> str:
        return recipe_id(load_recipe(tmp_path / "r.yaml", [f"jepa.target={{kind: frozen, checkpoint: {checkpoint}}}"]))

    found = [identity(tmp_path)]  # there is no checkpoint yet
    for value in (1.0, 2.0):
        save_file({"encoder.weight": torch.tensor(value)}, tmp_path / "weights.safetensors")
        found.append(identity(tmp_path))
    assert len(set(found)) == 3
    assert identity(tmp_path) == found[-1]
    (tmp_path / "pipe").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "pipe")
    identity(tmp_path / "pipe")  # a named pipe does not block

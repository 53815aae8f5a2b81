"""A part begins with the weights that another run's part has learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from jepakit.files.reading import read_text
from jepakit.recipe import Recipe
from jepakit.recipe.dump import flow
from jepakit.recipe.errors import Source
from jepakit.recipe.identity import source_digest
from jepakit.recipe.yaml12 import read_yaml
from jepakit.registry.signature import ComponentFields
from jepakit.storage.folder import read_provenance

#: Fields that may differ: they say where weights come from, and whether they change.
_OF_THE_START = {"checkpoint", "frozen", "weights", "init"}
_OF_FRAMES = ("frames", "size", "grayscale")  #: fields of an env that decide the shapes in an encoder
_MOST_TOLD = 6

RUNNING = "running."  #: in an export: begins the names of running statistics, which its other tensors hold as constants

Part = Literal["encoder", "predictor"]


@torch.no_grad()
def begin_with(module: nn.Module, part: Part, file: Path, recipe: Recipe) -> None:
    """Copy the weights and buffers of a part in ``file`` into ``module``.

    Args:
        module: The part of the recipe to be built, or a target's copy of the encoder, alone or followed by a projector.
        part: What it is in the file: the file of a checkpoint or of an export, or the part's own ``state_dict``.
        file: A safetensors file. If the recipe of its run lies where a run or an export has it, the part's fields must be the same.
        recipe: The recipe to be built.

    Raises:
        ValueError: The file does not exist, cannot be read, or holds another part; the message names what differs.
    """
    stored = _read(file)
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    theirs = _within(stored, own, part)
    tensors = sorted(_other_tensors(own, theirs, part))
    wrong = [*_other_fields(part, file, recipe), *(_other_frames(file, recipe) if tensors else ()), *tensors]
    if wrong:
        more = f"; and {len(wrong) - _MOST_TOLD} more" if len(wrong) > _MOST_TOLD else ""
        raise ValueError(f"checkpoint {file} holds a different {part}: {'; '.join(wrong[:_MOST_TOLD])}{more}")
    if bad := sorted(name for name, _ in module.named_parameters() if not theirs[name].isfinite().all()):
        raise ValueError(f"checkpoint {file} holds weights that are not finite: {bad[0]}")
    for name, tensor in own.items():
        tensor.copy_(theirs[name])


def edited_since(part: ComponentFields, file: Path) -> bool:
    """Whether other code defined the class of ``part`` when the run began that wrote ``file``. False of jepakit's own, and if unknown."""
    found, began = part.component, read_provenance(_home(file)).get("sources")
    is_own = not str(found.cls.__module__).startswith("jepakit.")
    return is_own and isinstance(began, list) and source_digest(found) not in began


def own_weights(target: object, online: nn.Module) -> nn.Module:
    """The encoder that a target holds as its own.

    Raises:
        ValueError: It has none.
    """
    held = getattr(target, "encoder", None)
    shared = {id(parameter) for parameter in online.parameters()}
    if not isinstance(held, nn.Module) or any(id(parameter) in shared for parameter in held.parameters()):
        lacking = "this target has no attribute `encoder` with weights of its own"
        raise ValueError(f"checkpoint has no place here: {lacking}; write `encoder.checkpoint`")
    return held


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        if (file.parent / "recipe.yaml").is_file() and not file.exists():
            raise ValueError(f"checkpoint {file.parent} is a run without a checkpoint")
        raise ValueError(f"checkpoint {file} does not exist")
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"checkpoint {file} cannot be read as safetensors: {error}") from error


def _within(stored: Mapping[str, Tensor], own: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The part's tensors in a file, by their names in the part."""
    if own.keys() <= stored.keys():  # an encoder followed by its projector, or a part's own state
        tops = {name.partition(".")[0] for name in own}
        return {name: tensor for name, tensor in stored.items() if name.partition(".")[0] in tops}
    running = {name.removeprefix(f"{RUNNING}{part}."): stored[name] for name in stored if name.startswith(f"{RUNNING}{part}.")}
    constant = {name.rpartition(".")[0] for name in running}  # modules of which an export holds constants, too
    plain = {name.removeprefix(f"{part}."): tensor for name, tensor in stored.items() if name.startswith(f"{part}.")}
    return {name: tensor for name, tensor in plain.items() if name.rpartition(".")[0] not in constant} | running


def _other_tensors(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], part: str) -> Iterator[str]:
    if not theirs:
        yield f"it has no tensors `{part}.…`"
        return
    for names, wrong in ((own.keys() - theirs.keys(), "it lacks"), (theirs.keys() - own.keys(), "only it has")):
        if names:
            yield f"{wrong} `{min(names)}`" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    for name in own.keys() & theirs.keys():
        ours, there = own[name], theirs[name]
        if ours.shape != there.shape or ours.dtype != there.dtype:
            yield f"`{name}` is {_told(there)} there and {_told(ours)} here"


def _told(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _other_fields(part: Part, file: Path, recipe: Recipe) -> Iterator[str]:
    path = ("encoder",) if part == "encoder" else ("jepa", "predictor")
    ours: Any = recipe.model_dump(mode="json")
    theirs: Any = _recipe_of(file)
    for key in path:
        ours, theirs = (side.get(key) if isinstance(side, dict) else None for side in (ours, theirs))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.get("kind") == theirs.get("kind"):
            fields: Any = recipe.encoder if part == "encoder" else recipe.jepa and recipe.jepa.predictor
            theirs = _defaults(fields) | theirs  # a field may be newer than their run
        names = ("kind",) if ours.get("kind") != theirs.get("kind") else tuple(ours.keys() - _OF_THE_START)
        yield from _differences(".".join(path), ours, theirs, names)


def _defaults(fields: BaseModel) -> dict[str, Any]:
    """The defaults of a component's fields, as JSON values."""
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in type(fields).model_fields.items() if not field.is_required()
    }
    return dict(to_jsonable_python(defaults))


def _other_frames(file: Path, recipe: Recipe) -> Iterator[str]:
    theirs = _recipe_of(file).get("env")
    if isinstance(theirs, dict):
        yield from _differences("env", recipe.env.model_dump(mode="json"), theirs, _OF_FRAMES)


def _differences(path: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    for name in sorted(names):
        if name in ours and name in theirs and ours[name] != theirs[name]:
            yield f"`{path}.{name}` is {flow(theirs[name])} there and {flow(ours[name])} here"


def _recipe_of(file: Path) -> dict[str, Any]:
    """The recipe of the run that wrote ``file``, unchecked; empty if it does not lie where a run or an export has it."""
    home = _home(file)
    try:
        node = read_yaml(Source("recipe.yaml", read_text(home / "recipe.yaml"), home), [])
    except (OSError, ValueError):
        return {}
    plain = node.plain() if node else None
    return plain if isinstance(plain, dict) else {}


def _home(file: Path) -> Path:
    """The folder of the run or the export that has written ``file``, if it lies where these have it."""
    return file.parents[2] if len(file.parents) > 2 and file.parents[1].name == "checkpoints" else file.parent

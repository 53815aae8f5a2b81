"""Recordings on disk: a folder with all frames in one file, the steps in another, and what they are as JSON.

``frames.bin`` holds uint8 [F, C, H, W] without a header, so that it can be mapped into memory. ``steps.safetensors`` holds the other
tensors of a `Recording`. ``recording.json`` has shapes, actions and checksums, and says where the recording comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor
from torchrl.data import Bounded

from jepakit.errors import shown
from jepakit.files.reading import read_bytes, read_text
from jepakit.files.tensors import save_tensors
from jepakit.files.writing import digest
from jepakit.protocols import Recording

if TYPE_CHECKING:
    from torchrl.data import TensorSpec

    from jepakit.protocols import FrameShape

FRAMES, STEPS, ABOUT = "frames.bin", "steps.safetensors", "recording.json"
MOST_STEPS_BYTES = 8 * 1024**3

Actions = dict[str, Any]


class _File(BaseModel):
    model_config = ConfigDict(strict=True)

    bytes: NonNegativeInt
    sha256: str


class About(BaseModel):
    """The content of ``recording.json`` that a reader needs; it also says where the recording comes from."""

    model_config = ConfigDict(extra="allow")

    format: Literal[1]
    frames: PositiveInt
    steps: PositiveInt
    frame_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    actions: Actions
    files: dict[str, _File]


class Held(NamedTuple):
    """A recording, and what its folder says about it."""

    recording: Recording
    about: About


def actions_of(spec: TensorSpec) -> Actions:
    """An action spec as JSON values."""
    if isinstance(spec, Bounded):
        return {"low": spec.space.low.flatten().tolist(), "high": spec.space.high.flatten().tolist()}
    return {"discrete": int(spec.space.n)}


class Writer:
    """Writes a recording, an episode at a time.

    Args:
        folder: An existing, empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = (folder / FRAMES).open("wb")
        self.frames = 0
        self.frame_shape: list[int] = []
        self.episodes: list[dict[str, Tensor]] = []

    @property
    def steps(self) -> int:
        """How many steps were written."""
        return sum(len(episode["done"]) for episode in self.episodes)

    def episode(self, frames: Tensor, action: Tensor, reward: Tensor, terminated: bool) -> None:
        """Add an episode of L steps; beyond L + 1, the oldest ``frames`` are those of a stack that does not begin with one frame.

        Args:
            frames: uint8 [L + 1 or more, C, H, W].
            action: int64 [L] or float32 [L, A].
            reward: float32 [L].
            terminated: Whether its last step ended it for good.
        """
        taken = torch.arange(len(reward))
        age = len(frames) - 1 - len(reward) + taken
        last = taken == len(reward) - 1
        held = {
            "position": self.frames + age,
            "age": age,
            "action": action,
            "reward": reward,
            "done": last,
            "terminated": last & terminated,
        }
        self.file.write(frames.contiguous().numpy().tobytes())
        self.frames += len(frames)
        self.frame_shape = list(frames.shape[1:])
        self.episodes.append(held)

    def finish(self, actions: Actions, about: Mapping[str, Any]) -> None:
        """Write the steps, and ``about`` with all that a reader needs."""
        self.file.close()
        steps = {name: torch.cat([episode[name] for episode in self.episodes]) for name in self.episodes[0]}
        save_tensors(steps, self.folder / STEPS)
        files = {path.name: {"bytes": path.stat().st_size, "sha256": digest(path)} for path in (self.folder / FRAMES, self.folder / STEPS)}
        facts: dict[str, Any] = {"format": 1, "frames": self.frames, "steps": self.steps, "episodes": len(self.episodes)}
        facts |= {"frame_shape": self.frame_shape, "actions": actions, "files": files, **about}
        (self.folder / ABOUT).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_about(folder: Path) -> About:
    """What a recording's folder says about it.

    Raises:
        ValueError: The folder holds no recording.
    """
    try:
        return About.model_validate_json(read_text(folder / ABOUT))
    except OSError as error:
        raise ValueError(f"folder {folder} holds no recording: {ABOUT}: {error}; `jepakit record-episodes` makes one") from error
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ValueError(f"folder {folder}: {ABOUT}: `{shown('.'.join(map(str, wrong['loc'])))}`: {wrong['msg']}") from error
    except ValueError as error:
        raise ValueError(f"folder {folder}: {ABOUT} is not UTF-8") from error


def read_recording(folder: Path) -> Held:
    """A recording, with its frames in the file. The folder may come from somebody else.

    Raises:
        ValueError: A file is missing, was changed, or does not hold what ``recording.json`` says.
    """
    about = read_about(folder)
    for name in (FRAMES, STEPS):
        file, expected = folder / name, about.files.get(name)
        if not file.is_file():
            raise ValueError(f"folder {folder} has no file {name}")
        if expected is None or (file.stat().st_size, digest(file)) != (expected.bytes, expected.sha256):
            raise ValueError(f"folder {folder}: {name} is not the file that was recorded")
    size = torch.Size((about.frames, *about.frame_shape)).numel()
    if size != (folder / FRAMES).stat().st_size:
        raise ValueError(f"folder {folder}: {FRAMES} does not hold {about.frames:,} frames of {list(about.frame_shape)}")
    frames = torch.from_file(str(folder / FRAMES), shared=False, size=size, dtype=torch.uint8).view(about.frames, *about.frame_shape)
    try:
        steps = load(read_bytes(folder / STEPS, MOST_STEPS_BYTES))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"folder {folder}: {STEPS} cannot be read: {error}") from error
    try:
        recording = Recording(frames, **{name: steps[name] for name in Recording._fields[1:]})
        check_recording(recording)
    except (KeyError, ValueError) as error:
        raise ValueError(f"folder {folder}: {STEPS}: {error}") from error
    if len(recording.done) != about.steps:
        raise ValueError(f"folder {folder}: {STEPS} holds {len(recording.done):,} steps, not {about.steps:,}")
    return Held(recording, about)


def check_recording(recording: Recording) -> None:
    """Check that the parts of a recording fit one another.

    Raises:
        ValueError: They do not.
    """
    for name, part in recording._asdict().items():
        if not isinstance(part, Tensor):
            raise ValueError(f"`{name}` is {type(part).__name__} where a tensor was expected")
    count = len(recording.done) if recording.done.ndim else 0
    dtypes = {"position": torch.int64, "age": torch.int64, "reward": torch.float32, "terminated": torch.bool, "done": torch.bool}
    for name, dtype in dtypes.items():
        tensor = getattr(recording, name)
        if tensor.dtype != dtype or tensor.shape != (count,):
            raise ValueError(f"`{name}` is {tensor.dtype} {list(tensor.shape)} where {dtype} [{count}] was expected")
    frames, position, age, action = recording[:4]
    if frames.dtype != torch.uint8 or frames.ndim != 4:
        raise ValueError(f"`frames` is {frames.dtype} {list(frames.shape)} where uint8 [F, C, H, W] was expected")
    if (action.dtype, action.ndim) not in ((torch.int64, 1), (torch.float32, 2)) or len(action) != count:
        raise ValueError(f"`action` is {action.dtype} {list(action.shape)} where int64 [{count}] or float32 [{count}, A] was expected")
    if not count or not recording.done[-1]:
        raise ValueError("there is no step, or the last step does not end its episode")
    if (age < 0).any() or (age > position).any() or (position + 1 >= len(frames)).any():
        raise ValueError("steps point at frames that are not there")
    goes_on = ~recording.done[:-1]
    if (position.diff()[goes_on] != 1).any() or (age.diff()[goes_on] != 1).any():
        raise ValueError("the steps of an episode do not follow one another")
    if not (recording.reward.isfinite().all() and action.isfinite().all()):
        raise ValueError("an action or a reward is not finite")


def check_fit(recording: Recording, frames: FrameShape, action_spec: TensorSpec) -> None:
    """Check that the frames and actions of a recording, which passes `check_recording`, are those of an env.

    Continuous actions may lie beyond the bounds: many envs clip what they are given.

    Raises:
        ValueError: They are not.
    """
    if (theirs := list(recording.frames.shape[1:])) != (ours := list(frames[1:])):
        raise ValueError(f"the recording has frames [C, H, W] of {theirs}; the env's are {ours}")
    action, actions = recording.action, actions_of(action_spec)
    if action.is_floating_point() == ("discrete" in actions) or (action.ndim == 2 and action.shape[1] != len(actions["low"])):
        raise ValueError(f"the recording has actions {action.dtype} {list(action.shape)}; the env's are {actions}")
    if "discrete" in actions and (outside := (action < 0) | (action >= actions["discrete"])).any():
        step = int(outside.nonzero()[0])
        raise ValueError(f"the recording has the action {int(action[step])} at step {step}, which the env does not have: {actions}")

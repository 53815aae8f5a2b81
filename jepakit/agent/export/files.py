"""Writes a trained policy and its encoder, or an encoder alone, as torch.export programs, ONNX models and weights, with a model card."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.agent.export.card import Parity, write_card
from jepakit.agent.export.greedy import GreedyPolicy, fixed
from jepakit.agent.export.parity import Check, Frames, compare, look, play
from jepakit.agent.new_folder import new_folder, writing_to
from jepakit.agent.trained import Trained, opened
from jepakit.errors import UserError, shown
from jepakit.files.tensors import save_tensors
from jepakit.protocols import PIXELS, S_X
from jepakit.storage.weights import RUNNING

NEEDED = ("onnx", "onnxscript", "onnxruntime")


class Exported(NamedTuple):
    """What was written."""

    folder: Path
    checks: list[Check]  #: of each file that computes
    unlike: int | None  #: discrete actions that are others in the run's own precision; None: that is fp32, or actions are continuous
    compared: str  #: what the files were compared with


class Encoder(nn.Module):
    """The encoder alone: ``pixels`` -> ``s_x``."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = fixed(encoder)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """``s_x`` [N, D]."""
        return {S_X: self.encoder(pixels).float()}


def export(
    run: str | Path, out: str | Path, *, best: bool = False, trust: bool = False, warn: Callable[[str], object] = lambda _: None
) -> Exported:
    """Export the policy and the encoder of the run in folder ``run`` to ``out``, and check them on frames of the run's env.

    Files: ``policy.pt2`` and ``encoder.pt2`` (torch.export), ``policy.onnx`` and ``encoder.onnx``, ``weights.safetensors``, ``recipe.yaml``
    and ``README.md``, the model card. The policy takes pixels [N, K, C, H, W] and returns the greedy action, the parameters of its
    distribution or the values of the actions, and s_x. A pretraining (``algorithm: {kind: none}``) has no policy: of it the encoder alone
    is written. All is in fp32, also of a run in bf16. The global random number generators keep their state.

    Args:
        run: A run's folder.
        out: A new or empty folder.
        best: Use the best checkpoint (`best_checkpoint`), not the newest.
        trust: Whether to run the plug-ins that the run's recipe names.
        warn: Called with a message about each corrupt checkpoint.

    Raises:
        UserError: A package is missing, ``out`` is not empty, the run cannot be opened, a part cannot be exported, ``out`` cannot be
            written, or an exported file does not do what the run's policy does.
    """
    run, out = Path(run), Path(out)
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"export needs {', '.join(missing)}: pip install 'jepakit[export]'")
    with new_folder(out) as partial, opened(run, best=best, trust=trust, warn=warn) as trained, writing_to(out):
        exported = _write(trained, run, partial)
    return exported._replace(folder=out)


def _write(trained: Trained, run: Path, folder: Path) -> Exported:
    recipe, env, learner, _ = trained
    seed = trained.held_out_seed
    modules: dict[str, GreedyPolicy | Encoder] = {"encoder": Encoder(learner.encoder)}
    if not recipe.learns:
        frames = look(trained, seed)
    else:
        space = getattr(env, "action_space", None)
        first = int(space.start) if isinstance(space, spaces.Discrete) else 0
        modules = {"policy": GreedyPolicy(learner.encoder, learner.algorithm.policy_head(), first), **modules}
        frames = play(trained, seed, first)
    checks = []
    for name, module in modules.items():
        checks += _export(module, folder / name, frames, f"encoder `{recipe.encoder.kind}` and algorithm `{recipe.algorithm.kind}`")
    whole = modules[frames.own]
    held = whole.state_dict()
    held |= {f"{RUNNING}encoder.{name}": each for name, each in learner.encoder.state_dict().items() if f"encoder.{name}" not in held}
    save_tensors({name: tensor.cpu().clone() for name, tensor in held.items()}, folder / "weights.safetensors")
    shutil.copyfile(run / "recipe.yaml", folder / "recipe.yaml")
    write_card(folder / "README.md", trained, run, Parity(checks, frames.unlike, frames.told()), _eager(whole)(frames.pixels[0]))
    return Exported(folder, checks, frames.unlike, frames.told())


def _export(module: nn.Module, path: Path, frames: Frames, what: str) -> list[Check]:
    """Write ``path``.pt2 and ``path``.onnx, and check both."""
    example = torch.cat([frames.pixels[0]] * 2)[:2].cpu()  # torch.export takes a batch of 1 for a constant
    with _quietly(), torch.no_grad(), set_exploration_type(ExplorationType.MODE):
        program = _traced(module, example, what)
        packed = BytesIO()
        torch.export.save(program, packed)  # on a full disk torch's own writer ends the process
        path.with_suffix(".pt2").write_bytes(packed.getbuffer())
        checks = [compare(path.with_suffix(".pt2"), _eager(torch.export.load(path.with_suffix(".pt2")).module()), frames)]
        names = list(module(example))
        try:
            onnx = torch.onnx.export(program, (example,), dynamo=True, verbose=False, input_names=[PIXELS], output_names=names)
        except Exception as error:
            raise UserError(f"ONNX has no operators for {what}: {_first_line(error)}") from error
        assert onnx is not None
        onnx.save(path.with_suffix(".onnx"), external_data=False)
    try:
        in_onnx = in_onnxruntime(path.with_suffix(".onnx"))
    except Exception as error:
        raise UserError(f"ONNX Runtime has no operators for {what}: {_first_line(error)}") from error
    return [*checks, compare(path.with_suffix(".onnx"), in_onnx, frames)]


def _traced(module: nn.Module, example: Tensor, what: str) -> torch.export.ExportedProgram:
    for strict in (False, True):  # the first is faster; the second also follows `len(pixels)`, which the first takes for a constant
        try:
            return torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=strict)
        except Exception as error:
            failure = error
    raise UserError(f"torch.export cannot trace {what}: {_first_line(failure)}") from failure


def _eager(module: nn.Module) -> Callable[[Tensor], Mapping[str, NDArray[Any]]]:
    @torch.no_grad()
    def run(pixels: Tensor) -> dict[str, NDArray[Any]]:
        return {name: value.numpy() for name, value in module(pixels.cpu()).items()}

    return run


def in_onnxruntime(path: Path) -> Callable[[Tensor], Mapping[str, NDArray[Any]]]:
    """The model in ``path`` as a function of pixels."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return lambda pixels: dict(zip(names, session.run(None, {PIXELS: pixels.cpu().numpy()}), strict=True))


def _first_line(error: BaseException) -> str:
    """The first line of the error that caused all others: the exporters wrap it in advice about themselves."""
    while error.__cause__:
        error = error.__cause__
    return shown(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", 300)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' remarks about themselves."""
    names = ("torch.onnx", "torch.fx", "torch._export", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings(), redirect_stderr(StringIO()):  # torch prints the graph of what it cannot trace
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)

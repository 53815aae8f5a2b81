"""Rules, and the report of broken ones."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

#: Folders with code that is not the component author's.
NOT_THEIRS = (str(Path(torch.__file__).parents[1]), str(Path(__file__).parent))

Output = Tensor | Mapping[str, Tensor]


class NonConformant(AssertionError):
    """A component breaks rules of its slot.

    Args:
        what: Names the component.
        broken: For each broken rule, by name: what was expected and found, where, and what to do.
    """

    def __init__(self, what: str, broken: Mapping[str, str]) -> None:
        self.what = what
        self.broken = dict(broken)
        count = "a rule" if len(broken) == 1 else f"{len(broken)} rules"
        super().__init__("\n".join((f"{what} breaks {count} of its slot", *(f"- {rule}: {text}" for rule, text in broken.items()))))


class Broken(Exception):
    """A rule is broken; the message says what was expected and found."""


class Rules:
    """Collects the rules that a component breaks, with the first case of each.

    Attributes:
        broken: Messages by the rule's name.
        setting: The current setting, in words.
    """

    def __init__(self) -> None:
        self.broken: dict[str, str] = {}
        self.setting = ""

    @contextmanager
    def rule(self, name: str, advice: str) -> Iterator[None]:
        """An exception inside breaks the rule ``name``; the check continues after the block.

        Args:
            name: The rule's name.
            advice: What the author must do.
        """
        try:
            yield
        except Exception as error:
            self.add(name, str(error) if isinstance(error, Broken) else _told(error), advice)

    def add(self, name: str, found: str, advice: str) -> None:
        """Record that the rule ``name`` is broken, unless it is recorded already."""
        self.broken.setdefault(name, f"{found}{f' (tried with {self.setting})' if self.setting else ''}; {advice}")


def _told(error: Exception) -> str:
    """An unexpected exception on one line, with the author's line of code that led to it."""
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(NOT_THEIRS)]
    place = f" at {Path(theirs[-1].filename).name}, line {theirs[-1].lineno}" if theirs else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{place}: {text[:300]}{'…' if len(text) > 300 else ''}"


def expect(holds: object, found: str) -> None:
    """Raise `Broken` with the message ``found`` unless ``holds``."""
    if not holds:
        raise Broken(found)


def expect_tensor(what: str, found: object, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
    """Expect a finite tensor of ``shape`` and ``dtype`` (None: any float)."""
    wanted = f"{'float' if dtype is None else name_of(dtype)} {list(shape)}"
    expect(isinstance(found, Tensor), f"{what} should be {wanted} and is {type(found).__name__}")
    assert isinstance(found, Tensor)
    right = found.shape == shape and (found.is_floating_point() if dtype is None else found.dtype == dtype)
    expect(right, f"{what} should be {wanted} and is {name_of(found.dtype)} {list(found.shape)}")
    expect(found.isfinite().all(), f"{what} holds values that are not finite")


def expect_same(what: str, one: Output, other: Output) -> None:
    """Expect equal outputs, up to rounding from a different order of summation."""
    ones, others = flat(one), flat(other)
    expect(ones.keys() == others.keys(), f"{what}: {sorted(ones)} and {sorted(others)}")
    for name, tensor in ones.items():
        a, b = tensor.detach().double().cpu(), others[name].detach().double().cpu()
        if a.shape != b.shape or not torch.allclose(a, b, rtol=1e-3, atol=1e-5 * max(1.0, a.abs().max().item() if a.numel() else 0.0)):
            apart = f"are up to {(a - b).abs().max():.2g} apart" if a.shape == b.shape else f"are {list(a.shape)} and {list(b.shape)}"
            raise Broken(f"{what} should be the same and {apart}{f' (`{name}`)' if name else ''}")


def flat(output: Output) -> Mapping[str, Tensor]:
    """An output's tensors by name."""
    return {"": output} if isinstance(output, Tensor) else output


def name_of(dtype: torch.dtype) -> str:
    """``uint8`` rather than ``torch.uint8``."""
    return str(dtype).removeprefix("torch.")

"""Turns an exception inside a component into an error at that component's place in the recipe."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import torch
from torch import nn

from jepakit.errors import UserError, raised_in
from jepakit.recipe.errors import RecipeError
from jepakit.training.terms import Misshapen

if TYPE_CHECKING:
    from jepakit.recipe import Recipe

OWN = str(Path(__file__).parents[1])
LIBRARIES = (str(Path(torch.__file__).parents[1]), str(Path(contextlib.__file__).parent))


class Blame:
    """Maps each component to its place in the recipe, and a component's exceptions to errors at that place.

    Args:
        recipe: The recipe; it knows the file and line of each value.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.places: dict[int, str] = {}  #: recipe path by ``id`` of the component

    def knows(self, component: object, path: str) -> None:
        """Record that ``component`` and all its submodules belong to ``path`` in the recipe."""
        parts = component.modules() if isinstance(component, nn.Module) else (component,)
        for part in parts:
            self.places.setdefault(id(part), path)  # a target that holds the online encoder does not claim it

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Turn any exception raised inside into a `RecipeError`.

        Args:
            path: The error's place in the recipe, unless the exception comes from a component with another place.
        """
        try:
            yield
        except (RecipeError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # even SystemExit from a component
            frames = list(traceback.walk_tb(error.__traceback__))[::-1]
            foreseen = isinstance(error, UserError) or (isinstance(error, ValueError) and not _is_library(frames[0][0]))
            message = str(error) if foreseen else f"{type(error).__name__}: {error}"
            raisers = [error.component] if isinstance(error, Misshapen) else [frame.f_locals.get("self") for frame, _ in frames]
            path = next((self.places[id(raiser)] for raiser in raisers if id(raiser) in self.places), path)
            theirs = [(frame, line) for frame, line in frames if not (_is_library(frame) or _is_own(frame))]
            if theirs and (self.places or not foreseen):
                message += f" ({Path(theirs[0][0].f_code.co_filename).name}, line {theirs[0][1]})"
            elif not foreseen:  # inside a library
                message += f" (in {raised_in(error)}; `jepakit --traceback …` shows the traceback)"
            field = f"{path}.{message.partition(' ')[0]}"  # "patch 7 does not divide ...": point at the patch
            raise self.recipe.error(field if self.recipe.origins(field) else path, message) from error


def _is_own(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(OWN)


def _is_library(frame: FrameType) -> bool:
    """Whether the frame's code belongs to a library, not to the user or to jepakit."""
    return frame.f_code.co_filename.startswith(LIBRARIES) and not _is_own(frame)

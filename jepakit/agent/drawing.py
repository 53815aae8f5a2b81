"""Draws one frame of a video: the env, beside it what the agent sees, and what it expects and intends."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from jepakit.agent.intent import Bar, Intent

Picture = NDArray[np.uint8]

MARGIN, COLUMN = 14, 300  #: pixels: around everything; the width of the agent's column
ENV_BOX, AGENT_BOX = (700, 480), (COLUMN, 260)  #: width and height that the two pictures fit into
BARS = 110  #: height of the bars, with their texts
INK, FAINT, PAPER, TRACK = (25, 25, 25), (95, 95, 95), (255, 255, 255), (226, 229, 233)
CHOSEN, OTHER = (213, 94, 0), (86, 130, 170)  #: told apart in every common kind of colour blindness


class Moment(NamedTuple):
    """One step of an episode."""

    drawn: Picture  #: what the env draws, uint8 [H, W, 3] or [H, W]
    seen: Picture  #: the newest frame that the agent sees, uint8 [H, W, 3] or [H, W]
    heading: str
    episode_return: float  #: so far
    length: int  #: env steps so far
    intent: Intent | None  #: None: the episode is over


class Canvas:
    """Draws moments at one size, which the first one decides.

    Args:
        first: Any moment of the episode.
    """

    def __init__(self, first: Moment) -> None:
        self.env_size = fitted(first.drawn, ENV_BOX)
        self.agent_size = fitted(first.seen, AGENT_BOX)
        self.top = MARGIN + 24
        text = 22 * 3 + 18 + BARS
        height = max(self.env_size[1], 20 + self.agent_size[1] + 10 + text)
        width = MARGIN + self.env_size[0] + 2 * MARGIN + COLUMN + MARGIN
        self.size = even(width), even(self.top + height + MARGIN)

    def draw(self, moment: Moment) -> Picture:
        """uint8 [height, width, 3]; both even, as video codecs want it."""
        picture = Image.new("RGB", self.size, PAPER)
        pen = ImageDraw.Draw(picture)
        pen.text((MARGIN, MARGIN - 4), moment.heading, INK, font(15))
        picture.paste(enlarged(moment.drawn, self.env_size), (MARGIN, self.top))

        pen.rectangle((MARGIN - 1, self.top - 1, MARGIN + self.env_size[0], self.top + self.env_size[1]), outline=TRACK)

        left = MARGIN + self.env_size[0] + 2 * MARGIN
        pen.text((left, self.top - 3), "what the agent sees: newest frame", FAINT, font(13))
        below = self.top + 20 + self.agent_size[1]
        picture.paste(enlarged(moment.seen, self.agent_size), (left, self.top + 20))
        pen.rectangle((left - 1, self.top + 19, left + self.agent_size[0], below), outline=TRACK)
        lines = [("return so far", f"{moment.episode_return:,.4g}"), ("step", f"{moment.length:,}")]
        if moment.intent and moment.intent.value_name:
            lines.append((moment.intent.value_name, f"{moment.intent.value:,.4g}"))
        for i, (name, figure) in enumerate(lines):
            pen.text((left, below + 8 + 22 * i), name, FAINT, font(15))
            pen.text((left + 130, below + 8 + 22 * i), figure, INK, font(15))
        if moment.intent is None:
            pen.text((left, below + 8 + 22 * 3), "the episode is over", INK, font(15))
        else:
            pen.text((left, below + 10 + 22 * 3), moment.intent.bars_name, FAINT, font(13))
            _bars(pen, moment.intent.bars, left, below + 10 + 22 * 3 + 18)
        return np.asarray(picture)


def as_picture(frame: Tensor) -> Picture:
    """One frame of a stack, [C, H, W], as an image: uint8 [H, W, 3] or [H, W]; a state vector as shades of grey."""
    if frame.dtype != torch.uint8:
        low, high = frame.min(), frame.max()
        frame = ((frame - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)
    frame = frame.cpu()
    picture: Picture = (frame[0] if len(frame) == 1 else frame.permute(1, 2, 0)).numpy()
    return picture


def _bars(pen: ImageDraw.ImageDraw, bars: list[Bar], left: int, top: int) -> None:
    """Vertical bars side by side over the agent's column, each with its figure above and its number beneath."""
    if not bars:
        return
    slot = min(56, COLUMN / len(bars))
    texts, numbers = slot >= 38, slot >= 15
    highest, lowest = top + (18 if texts else 2), top + BARS - 36
    for i, bar in enumerate(bars):
        x, width = left + i * slot, max(2, slot - (8 if slot >= 24 else 2))
        at = lambda share: lowest - share * (lowest - highest)  # noqa: E731
        start, end = sorted((at(bar.origin), at(bar.fill)))
        pen.rectangle((x, highest, x + width, lowest), TRACK)
        pen.rectangle((x, start, x + width, max(end, start + 1)), CHOSEN if bar.chosen else OTHER)
        ink = INK if bar.chosen else FAINT
        if texts:
            pen.text((x + width / 2, highest - 3), bar.text, ink, font(12), anchor="mb")
        if numbers:
            pen.text((x + width / 2, lowest + 4), bar.label, ink, font(12 if slot >= 20 else 9), anchor="mt")


def fitted(picture: Picture, box: tuple[int, int]) -> tuple[int, int]:
    """Width and height of ``picture`` enlarged by the largest whole number that fits ``box``, or shrunk to fit."""
    height, width = picture.shape[:2]
    ratio = min(box[0] / width, box[1] / height)
    ratio = int(ratio) if ratio >= 1 else ratio
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def enlarged(picture: Picture, size: tuple[int, int]) -> Image.Image:
    """``picture`` in RGB at this width and height: with hard edges where it grows, averaged where it shrinks."""
    image = Image.fromarray(picture).convert("RGB")
    larger = size[0] >= image.width and size[1] >= image.height
    return image.resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.BOX)


def even(length: int) -> int:
    """``length``, or the next number if it is odd."""
    return length + length % 2


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Matplotlib's own, which every installation has."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)

"""Draws roll-outs: what happened, what the decoder makes of it, and what the predictor imagined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw
from torch import Tensor

from jepakit.agent.drawing import FAINT, INK, MARGIN, PAPER, TRACK, Picture, as_picture, enlarged, even, fitted, font
from jepakit.agent.imagination.decoder import Decoder
from jepakit.agent.imagination.played import Played
from jepakit.agent.imagination.rollouts import RollOut
from jepakit.agent.movie import Movie

ROWS = ("what happened", "the same, through the decoder", "imagined")
BOX, SMALL = (340, 300), (110, 110)  #: width and height that a picture fits into, in the video and in the strip
FPS, HOLD = 5, 5  #: frames a second; frames for which the first and the last step stay
COLUMNS = 9  #: pictures of a roll-out in the strip
MOST_LINEAR = 20  #: the largest error that a linear axis shows: beyond it the other lines, which are near 1, would lie on the axis
COLOURS = {"predicted": "#0072B2", "copied": "#D55E00", "mean": "#737373"}
NAMES = {"predicted": "imagined: ŝ_y", "copied": "copied: s_y at the start", "mean": "the mean of s_y"}


def pictures(rollout: RollOut, played: Played, decoder: Decoder) -> list[tuple[Picture, Picture, Picture]]:
    """For k = 0, 1, …: the three pictures of `ROWS`. At k = 0 nothing is imagined yet: the last two are alike."""
    until = rollout.start + len(rollout.s_y_hat) + 1
    happened, s_y = played.frames[rollout.start : until], played.s_y[rollout.start : until]
    imagined = decoder(torch.cat((s_y[:1], rollout.s_y_hat)))
    is_state = happened.dtype != torch.uint8
    return [
        (as_picture(frame), _drawn(through, is_state), _drawn(guess, is_state))
        for frame, through, guess in zip(happened, decoder(s_y), imagined, strict=True)
    ]


def film(path: Path, drawn: Sequence[list[tuple[Picture, Picture, Picture]]], heading: str) -> None:
    """Write the roll-outs, one after the other, as a video."""
    with Movie(path, FPS) as movie:
        for number, rollout in enumerate(drawn, start=1):
            for k, row in enumerate(rollout):
                frame = _frame(row, f"{heading} · roll-out {number} of {len(drawn)} · k = {k}")
                for _ in range(HOLD if k in (0, len(rollout) - 1) else 1):
                    movie.add(frame)


def strip(path: Path, drawn: Sequence[list[tuple[Picture, Picture, Picture]]], heading: str) -> None:
    """Write the roll-outs as a PNG: a row for each of `ROWS`, a column for each of some k."""
    size = fitted(drawn[0][0][0], SMALL)
    label, line = 214, 20
    across = [_shown(len(rollout)) for rollout in drawn]
    block = line + len(ROWS) * (size[1] + 4) + MARGIN
    width = MARGIN + label + max(map(len, across)) * (size[0] + 4) + MARGIN
    picture = Image.new("RGB", (width, MARGIN + 26 + len(drawn) * block), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN - 2), heading, INK, font(15))
    for number, (rollout, columns) in enumerate(zip(drawn, across, strict=True)):
        top = MARGIN + 26 + number * block
        for row, name in enumerate(ROWS):
            y = top + line + row * (size[1] + 4)
            pen.text((MARGIN, y + size[1] / 2), name, FAINT, font(13), anchor="lm")
            for column, k in enumerate(columns):
                x = MARGIN + label + column * (size[0] + 4)
                picture.paste(enlarged(rollout[k][row], size), (x, y))
                pen.rectangle((x - 1, y - 1, x + size[0], y + size[1]), outline=TRACK)
                if row == 0:
                    pen.text((x + size[0] / 2, top + line - 4), f"k = {k}", FAINT, font(12), anchor="mb")
    picture.save(path)


def curves(path: Path, found: Mapping[str, Any], title: str) -> None:
    """Draw the errors against k."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.subplots()
        for name, colour in COLOURS.items():
            axes.plot(found["k"], found[name], color=colour, marker="." if len(found["k"]) < 30 else None, label=NAMES[name])
        axes.axvline(found["horizon"], color="#BBBBBB", linestyle=(0, (2, 2)), linewidth=1, zorder=0)
        axes.annotate("trained up to here", (found["horizon"], 1), xycoords=("data", "axes fraction"), fontsize=7, color="#737373")
        axes.set(xlabel="k, steps ahead", ylabel="‖ŝ_y − s_y‖² / variance of s_y")
        if max(found["predicted"]) > MOST_LINEAR:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_title(title.replace("$", r"\$"), fontsize=9, loc="left", pad=14)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8)
        figure.savefig(path, dpi=130)


def _frame(row: tuple[Picture, Picture, Picture], heading: str) -> Picture:
    size = fitted(row[0], BOX)
    width = even(MARGIN + len(row) * (size[0] + MARGIN))
    picture = Image.new("RGB", (width, even(MARGIN + 50 + size[1] + MARGIN)), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN - 4), heading, INK, font(15))
    for column, (name, one) in enumerate(zip(ROWS, row, strict=True)):
        x, y = MARGIN + column * (size[0] + MARGIN), MARGIN + 46
        pen.text((x, MARGIN + 24), name, FAINT, font(13))
        picture.paste(enlarged(one, size), (x, y))
        pen.rectangle((x - 1, y - 1, x + size[0], y + size[1]), outline=TRACK)
    return np.asarray(picture)


def _shown(length: int) -> list[int]:
    """Some of the steps 0 to ``length`` - 1, the first and the last among them."""
    return sorted({round(at) for at in np.linspace(0, length - 1, min(COLUMNS, length))})


def _drawn(frame: Tensor, is_state: bool) -> Picture:
    return as_picture(frame if is_state else (frame.clamp(0, 1) * 255).round().to(torch.uint8))


def chosen(rollouts: Sequence[RollOut], count: int) -> Iterator[RollOut]:
    """``count`` of the longest roll-outs, spread evenly over the episodes."""
    longest = max(len(each.s_y_hat) for each in rollouts)
    candidates = [each for each in rollouts if len(each.s_y_hat) == longest]
    for at in torch.linspace(0, len(candidates) - 1, min(count, len(candidates)) + 2).long()[1:-1].tolist():
        yield candidates[at]

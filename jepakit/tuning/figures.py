"""Figures of a study: what each trial has reached, and which values matter."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jepakit.report.figures import COLOURS, GREY, LOOK, save_figure
from jepakit.tuning.result import Tuned


def draw_history(tuned: Tuned) -> Path:
    """Every trial's value in their order, the best so far, and the recipe as it is; trials that were stopped at their last return.

    Returns:
        The path of the PNG.
    """
    finished = [trial for trial in tuned.trials if trial.value is not None]
    stopped = [trial for trial in tuned.trials if trial.state == "pruned" and trial.curve]
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.subplots()
        for trial in finished:
            axes.plot([trial.number] * len(trial.values), trial.values, ".", color=COLOURS[0], alpha=0.35, markersize=4)
        numbers, values = [trial.number for trial in finished], [trial.value or 0.0 for trial in finished]
        axes.plot(
            numbers, values, "o", color=COLOURS[0], label="a trial" + (", the mean of its seeds" if len(tuned.rules.seeds) > 1 else "")
        )
        axes.step(numbers, list(accumulate(values, max)), where="post", color=COLOURS[1], label="the best so far")
        if stopped:
            last = [trial.curve[max(trial.curve)] for trial in stopped]
            axes.plot([trial.number for trial in stopped], last, "x", color=GREY, label="stopped early: its return there")
        if tuned.default:
            axes.axhline(tuned.default.value or 0.0, color=COLOURS[2], linestyle=(0, (5, 1.5)), label="the recipe as it is")
        axes.set(xlabel="trial", ylabel=tuned.rules.metric)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8)
        return save_figure(figure, tuned.path / "history.png")


def draw_importance(tuned: Tuned) -> Path:
    """How much each value matters for being in the better half of the trials.

    Returns:
        The path of the PNG.
    """
    names = sorted(tuned.importance, key=lambda name: tuned.importance[name])
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(6.4, 1 + 0.32 * len(names)), layout="constrained")
        axes = figure.subplots()
        axes.barh(names, [tuned.importance[name] for name in names], color=COLOURS[0])
        axes.grid(False, axis="y")
        axes.set(xlabel=f"importance for a {tuned.rules.metric} in the better half (PED-ANOVA)")
        return save_figure(figure, tuned.path / "importance.png")

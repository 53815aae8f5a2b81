"""Where the time went."""

from __future__ import annotations

import numpy as np

from jepakit.report.page.charts import rounded
from jepakit.report.page.markup import Panel, chart, html, joined, missing, table
from jepakit.report.page.study import Group, Member, Study

PARTS = ("env", "policy", "learner")
WORDS = html(
    "<p>Seconds of wall-clock time for 1,000 env steps. <b>Env</b>: stepping and drawing the simulators. <b>Policy</b>: choosing actions. "
    "<b>Learner</b>: updating the networks. <b>Rest</b>: everything else, such as evaluation, probes and checkpoints. Make the "
    "longest bar shorter first.</p>"
)


def budget(study: Study) -> Panel:
    """Seconds for 1,000 env steps, by what they were spent on."""
    timed = [group for group in study.groups if any(_spent(member) for member in group.members)]
    rows = [(group.label, *(_mean(group, name, form) for name, form in FIGURES)) for group in study.groups]
    totals = table(("configuration", "env steps/s", "minutes a run"), rows)
    if not timed:
        note = missing("These runs do not say what time was spent on.")
        return Panel("time", "Time budget", WORDS, joined([totals, note]))
    lines = [
        {"part": part, "values": rounded([float(np.mean([spent[at] for spent in _all(group)])) for group in timed])}
        for at, part in enumerate((*PARTS, "rest"))
    ]
    drawn = {"type": "stack", "x": "seconds for 1,000 env steps", "y": "", "configs": [group.index for group in timed], "lines": lines}
    return Panel("time", "Time budget", WORDS, joined([chart("time", "Time for 1,000 env steps"), totals]), {"time": drawn})


FIGURES = (("steps_per_second", "{:,.0f}"), ("wall_s", "{:.1f}"))


def _all(group: Group) -> list[tuple[float, ...]]:
    return [spent for member in group.members if (spent := _spent(member))]


def _spent(member: Member) -> tuple[float, ...] | None:
    """Seconds for 1,000 env steps of each part and of the rest; None if the run has not recorded them."""
    wall, steps = (member.run.summary.get(name) for name in ("wall_s", "env_steps"))
    if not isinstance(wall, (int, float)) or not steps:
        return None
    seconds = member.run.summary.get("seconds")
    if isinstance(seconds, dict) and all(isinstance(seconds.get(part), (int, float)) for part in PARTS):
        totals = [1000 * float(seconds[part]) / steps for part in PARTS]
        return (*totals, max(0.0, 1000 * wall / steps - sum(totals)))
    curves = [member.history.get(f"time/{part}") for part in PARTS]
    known = [curve for curve in curves if curve is not None]
    if len(known) < len(curves):
        return None
    totals = [1000 * float(curve.values.sum()) / steps for curve in known]
    return (*totals, max(0.0, 1000 * wall / steps - sum(totals)))


def _mean(group: Group, name: str, form: str) -> str:
    """A figure of the runs' summaries, which may hold anything, as a mean."""
    told = [member.run.summary.get(name) for member in group.members]
    values = [float(value) for value in told if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return form.format(np.mean(values) / (60 if name == "wall_s" else 1)) if values else "–"

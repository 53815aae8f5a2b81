"""What the embedding knows: state probes, as `jepakit probe` left them in the runs' folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jepakit.errors import shown
from jepakit.report.page.charts import Chart, bars, rounded
from jepakit.report.page.markup import Panel, chart, html, joined, missing
from jepakit.report.page.study import Group, Member, Study
from jepakit.report.probes import MEAN, read_probe
from jepakit.report.runs import of_final_weights

PROBES = {"linear": "A straight-line reading (linear probe)", "mlp": "A small network's reading (MLP probe)"}
AHEAD = {
    "predicted": "predicted",
    "encoded": "seen (upper bound)",
    "copied": "as if nothing changed",
}  #: each a kind of dash, in this order
MOST_VARIABLES = 24

WORDS = html(
    "<p>Does the embedding know where things are? A <b>probe</b> is a small model that tries to read the simulator's true state off the "
    "embedding. It is trained after the fact: the agent never sees the true state. <b>R²</b> is the share of a quantity's variation "
    "that it reads off: 1 is perfect, 0 is no better than guessing the mean. Dots are single runs.</p>"
)
AHEAD_WORDS = html(
    '<p class="note">Looking ahead: the predictor rolls the embedding k steps forward, and the probe reads the state off that. Solid: '
    "predicted. Dashed: the embedding of what was really seen then, the best that could be hoped for. Dotted: the old embedding unchanged. "
    "JEPA has learned how the task moves where solid stays above dotted. What leaves the chart "
    "at the bottom is worse than guessing the mean.</p>"
)


def probes(study: Study) -> Panel:
    """R² of each state variable, and of the state k steps ahead."""
    found = {group.index: [probe for member in group.members if (probe := read_of(member))] for group in study.groups}
    found = {index: of for index, of in found.items() if of}
    if not found:
        folder = shown(str(study.folders[0]), 300) if study.folders else "RUN"
        return Panel("probes", "What the embedding knows", WORDS, missing("No run has been probed:", f"jepakit probe {folder}"))
    variables = list(dict.fromkeys(name for of in found.values() for probe in of for r2 in probe["r2"].values() for name in r2))
    variables = [*[name for name in variables if name != MEAN][:MOST_VARIABLES], MEAN]
    charts: dict[str, Chart] = {}
    places = []
    for kind, title in PROBES.items():
        values = {
            index: [_values([probe["r2"].get(kind, {}).get(name) for probe in of]) for name in variables] for index, of in found.items()
        }
        charts[f"probe-{kind}"] = bars(variables, values, "R²")
        places.append(chart(f"probe-{kind}", title, "R² on held-out episodes"))
    ahead = _ahead(study.groups, found)
    if ahead["lines"]:
        charts["ahead"] = ahead
        places.append(chart("ahead", "State read k steps ahead", "R², mean over state variables"))
    lacking = [group.label for group in study.groups if group.index not in found]
    note = missing(f"Not probed: {', '.join(lacking)}.", "jepakit probe RUN") if lacking else html("")
    body = joined([html('<div class="grid">{}</div>', joined(places)), AHEAD_WORDS if "ahead" in charts else "", note])
    return Panel("probes", "What the embedding knows", WORDS, body, charts)


def read_of(member: Member) -> dict[str, Any] | None:
    """The content of a run's ``probe.json``; None if there is none, or, with a warning, if it is of earlier weights."""
    if not member.folder:
        return None
    advice = f"probe anew with `jepakit probe {member.folder}`"
    return of_final_weights(read_probe(member.folder), member.folder / "probe.json", member.run.summary, advice)


def _values(of: list[float | None]) -> list[float]:
    return [value for value in of if value is not None]


def _ahead(groups: tuple[Group, ...], found: Mapping[int, list[dict[str, Any]]]) -> Chart:
    lines: list[dict[str, Any]] = []
    for group in groups:
        known = [ahead for probe in found.get(group.index, []) if (ahead := probe["ahead"]) and ahead["k"]]
        known = [ahead for ahead in known if ahead["k"] == known[0]["k"]]
        for dash, (kind, words) in enumerate(AHEAD.items()):
            curves = [ahead[kind][MEAN] for ahead in known if MEAN in ahead[kind]]
            if curves:
                values = np.array([[np.nan if value is None else value for value in curve] for curve in curves])
                mean = [float(np.mean(kept)) if len(kept := column[~np.isnan(column)]) else float("nan") for column in values.T]
                lines.append({"role": "mean", "config": group.index, "part": words, "dash": dash, "x": known[0]["k"], "y": rounded(mean)})
    return {"type": "lines", "x": "steps ahead, k", "y": "R²", "log": False, "lines": lines, "rules": [], "range": "r2"}

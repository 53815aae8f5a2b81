"""How much the embeddings vary, and in how many directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from jepakit.diagnostics.collapse import PAPER_VARIANCE
from jepakit.report.curves.metrics import LABELS
from jepakit.report.curves.metrics import Panel as Metrics
from jepakit.report.page.charts import Chart, metric_chart, rounded
from jepakit.report.page.markup import Panel, chart, html, joined
from jepakit.report.page.study import Study

WORDS = html(
    "<p>The <b>variance</b> says how much embeddings differ from picture to picture. A healthy one stays within a few factors of ten "
    "of where it began. One that falls and falls is a collapse: look for a line that drops by many decades. ✕ marks where a run was first "
    "called collapsed.</p>"
    "<p>The <b>effective rank</b> says in how many directions embeddings vary. Near 1, the encoder tells one thing about a picture "
    "and nothing else. Noise has a high rank too: trust it only where the variance is healthy.</p>"
)
SPECTRUM_WORDS = html(
    "<p>The last chart shows the same <b>by direction</b>, at the end of training: a cliff after the first means that almost all variance "
    "lies along one.</p>"
)


def embedding(study: Study) -> Panel:
    """Variance and effective rank against env steps."""
    charts: dict[str, Chart] = {}
    variance, rank = (
        metric_chart(study, Metrics("", LABELS[name], (name,), logarithmic), interval=True)
        for name, logarithmic in (("embedding/variance", True), ("embedding/rank", False))
    )
    _mark(study, variance)
    if min((value for line in variance["lines"] for value in line["y"] if value is not None), default=1.0) < 10 * PAPER_VARIANCE:
        variance["rules"].append({"y": PAPER_VARIANCE, "text": "the paper's threshold, 1e-7"})
    charts |= {"variance": variance, "rank": rank}
    words = WORDS
    places = [chart("variance", "Embedding variance", "logarithmic"), chart("rank", "Effective rank")]
    if lines := _spectra(study):
        charts["spectrum"] = {"type": "lines", "x": "direction", "y": "share of variance", "log": True, "lines": lines, "rules": []}
        words = joined([WORDS, SPECTRUM_WORDS])
        places.append(chart("spectrum", "Variance by direction at the end", "logarithmic"))
    body = joined(places)
    return Panel("embedding", "What the embedding holds", words, html('<div class="grid">{}</div>', body), charts)


def _spectra(study: Study) -> list[dict[str, Any]]:
    """The shares of the variance by direction, mean over the runs of each configuration."""
    lines = []
    for group in study.groups:
        known = [member.spectrum for member in group.members if member.spectrum is not None]
        if known:
            count = min(map(len, known))
            mean = np.mean([shares[:count] for shares in known], axis=0)
            lines.append({"role": "mean", "config": group.index, "x": list(range(1, count + 1)), "y": rounded(mean)})
    return lines


def _mark(study: Study, variance: Chart) -> None:
    """Mark on the chart where each run was first called collapsed."""
    marks = []
    for group in study.groups:
        for member in group.members:
            at, curve = member.run.summary.get("collapsed_at"), member.history.get("embedding/variance")
            if isinstance(at, int) and curve is not None:
                near = abs(curve.env_steps - at).argmin()
                text = f"seed {member.run.seed} was called collapsed here"
                marks.append({"config": group.index, "x": at, "y": max(float(curve.values[near]), 1e-12), "text": text})
    variance["marks"] = marks

"""Losses and diagnostics: every other metric that the runs have recorded, a small chart each."""

from __future__ import annotations

from jepakit.report.curves.metrics import DIAGNOSTICS, EMBEDDING, EVALUATION, LOSSES, panels
from jepakit.report.curves.metrics import Panel as Metrics
from jepakit.report.page.charts import metric_chart
from jepakit.report.page.markup import Html, Panel, chart, html, joined, missing
from jepakit.report.page.study import Study

ELSEWHERE = ("embedding/variance", "embedding/rank")  #: have a panel of their own
DASHES = ("solid:", "dashed:", "dotted:", "dash-dotted:")  #: as page.js draws them
LINES = html("<p>A line is the plain mean of a configuration's runs that have recorded the figure, a band their range.</p>")
NO_RECORD = "Records keep only the main curves. Name the runs' folders to see more:"

LOSS_WORDS = html(
    "<p>What training makes small. <b>L_JEPA</b> is the error of the predicted next embedding. A low one is no success by itself: if all "
    "embeddings are the same, predicting them is trivial. Read it beside the variance above.</p>"
    "<p>Actor, critic and entropy losses are those of the RL algorithm; their level means little, sudden jumps mean something.</p>"
)
DIAGNOSTIC_WORDS = html(
    "<p>Figures that are watched and never trained on. Look for what changes together with a collapse or a fall of the return: a gradient "
    "norm that vanishes or explodes, a policy that stops changing (KL near zero).</p>"
)
EVALUATION_WORDS = html("<p>Returns in episodes that were played for evaluation alone, while training went on.</p>")


def losses(study: Study) -> Panel:
    """The terms of the loss."""
    return _panel("losses", "Losses", LOSS_WORDS, study, (LOSSES,))


def evaluation(study: Study) -> Panel | None:
    """Evaluation during training, if there was any."""
    panel = _panel("evaluation", "Evaluation while training", EVALUATION_WORDS, study, (EVALUATION,))
    return panel if panel.charts else None


def diagnostics(study: Study) -> Panel:
    """Everything else."""
    return _panel("diagnostics", "Diagnostics", DIAGNOSTIC_WORDS, study, (EMBEDDING, DIAGNOSTICS))


def _note(metrics: Metrics, logarithmic: bool) -> str:
    """Whether the axis is logarithmic, and what the dashes mean."""
    parts = [name.split("/", 2)[-1] for name in metrics.metrics] if len(metrics.metrics) > 1 else []
    dashes = [f"{DASHES[at % len(DASHES)]} {part}" for at, part in enumerate(parts)]
    return ", ".join(["logarithmic"] * logarithmic + dashes)


def _panel(id: str, title: str, words: Html, study: Study, groups: tuple[str, ...]) -> Panel:
    found = [panel for panel in panels([member.history for member in study.members]) if panel.group in groups]
    found = [panel for panel in found if panel.metrics[0] not in ELSEWHERE]
    charts = {f"{id}-{at}": metric_chart(study, metrics) for at, metrics in enumerate(found)}
    places = [chart(f"{id}-{at}", metrics.label, _note(metrics, charts[f"{id}-{at}"]["log"])) for at, metrics in enumerate(found)]
    body = html('<div class="grid">{}</div>', joined(places)) if places else Html("")
    if not study.folders:
        body = joined([body, missing(NO_RECORD, "jepakit report runs/NAME --out report.html")])
    elif not places:
        body = missing("These runs have recorded none.")
    several = any(len(group.members) > 1 for group in study.groups)
    return Panel(id, title, joined([words, LINES]) if several and places else words, body, charts)

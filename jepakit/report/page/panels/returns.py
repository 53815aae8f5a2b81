"""Return against env steps."""

from __future__ import annotations

from jepakit.report.curves.history import RETURN
from jepakit.report.curves.metrics import LABELS
from jepakit.report.curves.metrics import Panel as Metrics
from jepakit.report.page.charts import metric_chart
from jepakit.report.page.markup import Panel, chart, html
from jepakit.report.page.study import Study

BAND = (
    " The line is the mean of a configuration's runs (from four runs on without the lowest and the highest quarter), the band its 95% "
    "interval. It begins and ends where all of them have a return: a shorter run cuts it."
)


def returns(study: Study) -> Panel:
    """The return curves."""
    most = max(len(group.members) for group in study.groups)
    band = BAND if most > 1 else ""
    few = " With two or three runs the band says little: look at the single seeds." if 1 < most < 4 else ""
    words = html(
        "<p>The <b>return</b> is the sum of an episode's rewards: how well the agent did. Higher is better. Each point is the mean of the "
        "last 100 episodes.{}{}</p>",
        band,
        few,
    )
    metrics = Metrics("", LABELS[RETURN], (RETURN,), logarithmic=False)
    place = chart("returns", "Return against env steps", "mean and 95% interval" if most > 1 else "", tall=True)
    return Panel("returns", "Return", words, place, {"returns": metric_chart(study, metrics, interval=True) | {"range": "zero"}})

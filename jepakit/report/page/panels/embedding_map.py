"""A map of the embeddings: which pictures the encoder finds alike."""

from __future__ import annotations

from jepakit.report.page.charts import Chart, rounded
from jepakit.report.page.markup import Panel, chart, html, joined, missing
from jepakit.report.page.seen import Seen, principal
from jepakit.report.page.study import Study

WORDS = html(
    "<p>Each dot is one picture that the agent saw, placed by its embedding: dots close together look alike to the agent. The two axes are "
    "the directions in which embeddings vary most (<b>principal components</b>, PCA), in the same units for all configurations.</p>"
    "<p>A healthy encoder spreads pictures out, and the colour, a property of the true state, changes smoothly across the map. A "
    "collapsed one puts all pictures on <b>one spot</b>.</p>"
)


def embedding_map(study: Study, seen: Seen) -> Panel:
    """The first two principal components of each configuration's embeddings, coloured by a property of the state."""
    charts: dict[str, Chart] = {}
    places = []
    names: dict[str, None] = {}
    maps = {index: principal(observed.embeddings) for index, observed in seen.observed.items()}
    reach = 1.06 * max((float(abs(points).max()) for points, _ in maps.values()), default=1.0)
    for index, (points, shares) in maps.items():
        values = seen.observed[index].values
        names |= dict.fromkeys(values)
        charts[f"map-{index}"] = {
            "type": "map",
            "config": index,
            "range": reach or 1.0,
            "x": f"first component ({shares[0]:.0%} of variance)",
            "y": f"second ({shares[1]:.0%})",
            "points": {"x": rounded(points[:, 0], 3), "y": rounded(points[:, 1], 3)},
            "colours": {name: rounded(value, 3) for name, value in values.items()},
        }
        title = html('<span class="swatch" data-config="{}"></span> {}', index, study.groups[index].label)
        places.append(chart(f"map-{index}", title, f"run {seen.runs[index]}", spoken=f"map of {study.groups[index].label}"))
    options = joined(html('<option value="{0}">{0}</option>', name) for name in names)
    menu = html('<p class="controls"><label>Colour: <select data-colour="yes">{}</select></label></p>', options)
    notes = joined(missing(f"{study.groups[index].label}: {why}") for index, why in seen.failed.items())
    body = joined([menu, html('<div class="grid">{}</div>', joined(places)), notes]) if places else joined([NO_AGENTS, notes])
    return Panel("map", "A map of what it sees", WORDS, body, charts)


NO_AGENTS = missing(
    "This needs the checkpoints in runs' folders, and the report without --curves-only:", "jepakit report RUNS --out report.html"
)

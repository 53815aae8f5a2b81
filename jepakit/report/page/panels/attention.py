"""Where a vision transformer looks."""

from __future__ import annotations

from jepakit.report.page.markup import Html, Panel, html, joined, missing
from jepakit.report.page.seen import Observed, Seen, overlaid
from jepakit.report.page.study import Study

WORDS = html(
    "<p>A <b>vision transformer</b> cuts the last frames into patches and asks, for each, how much it matters now: its <b>attention</b>. "
    "The denser the colour of a patch, the more of it enters the embedding; full colour is three times an even share. "
    "From left to right: the oldest frame to the newest.</p>"
    "<p>Shown is the class token's attention in the last layer, the mean over heads. Look whether it follows what moves.</p>"
)


def attention(study: Study, seen: Seen) -> Panel | None:
    """The class token's attention over the frames of a few observations of each configuration; None if no agent has played."""
    if not seen.observed:
        return None
    shown = {index: observed for index, observed in seen.observed.items() if observed.attention is not None}
    lacking = [study.groups[index].label for index in seen.observed if index not in shown]
    rows = joined(
        html(
            '<figure class="strip"><figcaption><span class="swatch" data-config="{}"></span> {}<span class="note">{}</span></figcaption>'
            "{}</figure>",
            index,
            study.groups[index].label,
            _note(observed),
            joined(_strip(observed, at) for at in range(len(observed.frames))),
        )
        for index, observed in shown.items()
    )
    note = missing(f"No class token whose attention could be shown: {'; '.join(lacking)}.") if lacking else ""
    return Panel("attention", "Where it looks", WORDS, joined([html('<div class="strips">{}</div>', rows) if shown else "", note]))


def _note(observed: Observed) -> str:
    assert observed.attention is not None
    frames, times = observed.frames.shape[1], observed.attention.shape[1]
    return "" if frames == times else f"a patch spans {frames // times} frames"


def _strip(observed: Observed, at: int) -> Html:
    assert observed.attention is not None
    weights = observed.attention[at]  # [T, rows, columns]
    frames = observed.frames[at]
    pictures = (
        html(
            '<img src="{}" alt="frame {} of {}, {} of the attention">',
            Html(overlaid(frame, weights[number * len(weights) // len(frames)], 1 / weights.size)),
            number + 1,
            len(frames),
            f"{weights[number * len(weights) // len(frames)].sum():.0%}",
        )
        for number, frame in enumerate(frames)
    )
    return html('<div class="frames">{}</div>', joined(pictures))

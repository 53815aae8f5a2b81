"""Videos of episodes."""

from __future__ import annotations

import base64

from jepakit.report.curves.braille import number
from jepakit.report.page.markup import Html, Panel, html, joined
from jepakit.report.page.seen import Film, Seen
from jepakit.report.page.study import Study

BUDGET = 4_500_000  #: bytes of all videos, so that the page stays below 10 MB
WORDS = (
    "<p>The trained agent plays, drawing its actions from its policy: its best, its middle and its worst episode of {}. In each video: the "
    "task, beside it what the agent sees of it, the return so far, the return that it expects, and how likely it finds each action.</p>"
)


def episodes(study: Study, seen: Seen) -> Panel | None:
    """The best, the middle and the worst episode of each configuration's run; None if none was filmed."""
    if not any(seen.films.values()):
        return None
    left = BUDGET
    rows, skipped = [], []
    for index, films in seen.films.items():
        chosen = chosen_films(films)
        label, size = study.groups[index].label, sum(len(film.content) for _, film in chosen) * 4 // 3
        if size > left:
            skipped.append(label)
            continue
        left -= size
        videos = joined(_video(which, film) for which, film in chosen)
        name = html('<h3><span class="swatch" data-config="{}"></span> {}</h3>', index, label)
        rows.append(html('{}<div class="three">{}</div>', name, videos))
    note = html('<p class="note">Left out, so that the page stays small: {}.</p>', "; ".join(skipped)) if skipped else Html("")
    count = max(len(films) for films in seen.films.values())
    return Panel("episodes", "Watch it play", html(WORDS, count), joined([joined(rows), note]))


def chosen_films(films: list[Film]) -> list[tuple[str, Film]]:
    """The best, the middle and the worst by return; one for all if they are equal."""
    ranked = sorted(films, key=lambda film: -film.episode_return)
    if ranked[0].episode_return == ranked[-1].episode_return:
        return [("every episode" if len(ranked) > 1 else "the episode", ranked[0])]
    middle = [("middle", ranked[len(ranked) // 2])] if len(ranked) > 2 else []
    return [("best", ranked[0]), *middle, ("worst", ranked[-1])]


def _video(which: str, film: Film) -> Html:
    content = Html(base64.b64encode(film.content).decode())
    caption = html('<figcaption>{}<span class="note">return {}</span></figcaption>', which, number(film.episode_return))
    if film.suffix == ".mp4":
        return html(
            '<figure class="strip">{}<video controls muted loop playsinline preload="auto" src="data:video/mp4;base64,{}"></video>'
            "</figure>",
            caption,
            content,
        )
    return html('<figure class="strip">{}<img alt="an episode" src="data:image/gif;base64,{}"></figure>', caption, content)

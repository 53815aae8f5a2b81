"""The page: its panels, its style and its script, in one file that opens without a network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from importlib.resources import files
from pathlib import Path

from jepakit.errors import UserError, shown
from jepakit.files.writing import write_atomically
from jepakit.report.comparison import task_of
from jepakit.report.figures import COLOURS
from jepakit.report.page.markup import Html, Panel, html, joined
from jepakit.report.page.panels.attention import attention
from jepakit.report.page.panels.budget import budget
from jepakit.report.page.panels.differences import differences
from jepakit.report.page.panels.embedding import embedding
from jepakit.report.page.panels.embedding_map import embedding_map
from jepakit.report.page.panels.episodes import episodes
from jepakit.report.page.panels.metrics import diagnostics, evaluation, losses
from jepakit.report.page.panels.probes import probes
from jepakit.report.page.panels.provenance import provenance
from jepakit.report.page.panels.returns import returns
from jepakit.report.page.panels.verdict import MOST_EXPLAINED, verdict
from jepakit.report.page.seen import Seen
from jepakit.report.page.study import Study
from jepakit.version import __version__

#: The colours of `COLOURS` on a dark page, in the same order: of the same hue, light enough to be seen.
DARK = ("#3E93D6", "#E69F00", "#1DB88A", "#F2F2F2", "#9BDCFF", "#F0702A", "#E39AC6", "#C9659A", "#938AEB")


def write_report(study: Study, path: Path, title: str | None = None, seen: Seen | None = None) -> Path:
    """Write the report of a study.

    Args:
        study: The runs.
        path: The file to write.
        title: The page's title; by default what was trained where.
        seen: What the agents showed when they played; None if none has.

    Raises:
        UserError: plotly is not installed, or the file cannot be written.
    """
    page = build_page(study, title, seen)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page)
    except OSError as error:
        raise UserError(f"can't write {path}: {error.strerror}") from None
    return path


def build_page(study: Study, title: str | None = None, seen: Seen | None = None) -> str:
    """The whole page. The same runs give the same text.

    Raises:
        UserError: plotly is not installed.
    """
    first, second = verdict(study), returns(study)
    played = seen or Seen()
    measured = [differences(study), embedding(study), losses(study), evaluation(study), probes(study)]
    shown = [embedding_map(study, played), attention(study, played), episodes(study, played)]
    panels = [panel for panel in [*measured, *shown, diagnostics(study), budget(study), provenance(study)] if panel]
    library, script = plotly_js(), _asset("page.js")
    data = {
        "configs": [{"label": group.label, "runs": len(group.members)} for group in study.groups],
        "colours": {"light": COLOURS, "dark": DARK},
        "charts": {name: chart for panel in (second, *panels) for name, chart in panel.charts.items()},
    }
    heading = title or _title(study)
    return html(
        _asset("page.html"),
        policy=_policy(script, library),
        title=heading,
        style=Html(_asset("page.css")),
        hero="hero many" if len(study.groups) > MOST_EXPLAINED else "hero",
        verdict=html('<section id="verdict">{}{}</section>', first.words, first.body),
        returns=html('<section id="returns">{}<div class="words">{}</div></section>', second.body, second.words),
        summary=_summary(study),
        legend=_legend(study),
        contents=joined(html('<a href="#{}">{}</a>', panel.id, panel.title) for panel in panels),
        panels=joined(_section(panel) for panel in panels),
        version=__version__,
        data=_packed(json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)),
        library=_packed(library),
        script=Html(script),
    )


def _section(panel: Panel) -> Html:
    return html(
        '<section id="{}" class="panel"><div class="words"><h2>{}</h2>{}</div><div class="show">{}</div></section>',
        panel.id,
        panel.title,
        panel.words,
        panel.body,
    )


def _title(study: Study) -> str:
    envs = sorted({_task(group.recipe) for group in study.groups})
    names = sorted({group.members[0].run.name for group in study.groups})
    where = envs[0] if len(envs) == 1 else f"{len(envs)} envs"
    return shown(f"{names[0]} on {where}" if len(names) == 1 else where, 120)


def _task(recipe: dict[str, object]) -> str:
    env = recipe.get("env")
    return task_of(env) if isinstance(env, dict) else "no env"


def _summary(study: Study) -> str:
    steps = sorted({member.run.summary["env_steps"] for member in study.members})
    span = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    counts = (len(study.groups), "configuration"), (len(study.members), "run")
    return ", ".join(f"{count} {noun}{'s' if count > 1 else ''}" for count, noun in counts) + f", {span} env steps each"


def _legend(study: Study) -> Html:
    return joined(
        html(
            '<button type="button" class="key" data-config="{index}" aria-pressed="true"><span class="swatch" data-config="{index}"></span>'
            "{label}</button>",
            index=group.index,
            label=group.label,
        )
        for group in study.groups
    )


def _packed(text: str) -> Html:
    """Text in a form that a page can hold and a browser unpacks; no text can break out of it."""
    return Html(base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode())


def _policy(*scripts: str) -> Html:
    """What the page may do: run these scripts, show what it holds, and fetch nothing."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    return Html(
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; media-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return (files("jepakit.report.page") / "assets" / name).read_text(encoding="utf-8")


def plotly_js() -> str:
    """Plotly's JavaScript.

    Raises:
        UserError: Plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise UserError("a report needs plotly: pip install 'jepakit[report]'") from None
    return str(get_plotlyjs())

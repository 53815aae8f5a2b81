"""``jepakit report``: what runs did, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jepakit.cli.options import RunsArg, TrustOption

if TYPE_CHECKING:
    from jepakit.report.page.seen import Film, Observed, Seen
    from jepakit.report.page.study import Group, Study

MOST_PLAYED = 8  #: configurations whose agents play for the map
MOST_FILMED = 4  #: and for videos
EPISODES = 5  #: that are filmed
QUALITY = 4  #: of 10, so that a page holds a dozen


def command(
    runs: RunsArg,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The HTML file to write.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option("--title", help="The page's title.", show_default=False)] = None,
    curves_only: Annotated[
        bool, typer.Option("--curves-only", help="Open no checkpoint: leave out the map of embeddings, attention and videos.")
    ] = False,
    trust: TrustOption = False,
) -> None:
    """Write what runs did as one HTML file, which opens without a network: verdict on collapse, curves, probes, episodes, provenance."""
    from jepakit.cli.output import emit
    from jepakit.files.writing import readable
    from jepakit.report.page.page import write_report
    from jepakit.report.page.study import load_study

    study = load_study(runs)
    seen = None if curves_only else _play(study, trust)
    path = write_report(study, out, title, seen)
    emit(f"wrote {path} ({readable(path.stat().st_size)})")


def _play(study: Study, trust: bool) -> Seen:
    """Let one run of each configuration play: of those with a checkpoint, the one with the middle return."""
    from jepakit.errors import UserError, shown
    from jepakit.report.page.page import plotly_js
    from jepakit.report.page.seen import Observed, Seen

    plotly_js()  # if it is not there, that is said before minutes of play
    groups = _spread([group for group in study.groups if group.representative], MOST_PLAYED)
    observed: dict[int, Observed] = {}
    films: dict[int, list[Film]] = {}
    failed: dict[int, str] = {}
    names: dict[int, str] = {}
    filmed = {group.index for group in _spread(groups, MOST_FILMED)}
    for at, group in enumerate(groups, start=1):
        member = group.representative
        assert member is not None
        assert member.folder is not None
        typer.echo(f"{at}/{len(groups)}: {shown(str(member.folder), 200)} plays", err=True)
        try:
            from jepakit.agent.observe import observe  # with torch: not where no run has a folder

            observed[group.index] = Observed(*observe(member.folder, trust=trust, warn=_warn))
            if group.index in filmed:
                films[group.index] = _film(member.folder, trust)
        except UserError as error:
            failed[group.index] = shown(str(error), 300)
            typer.echo(f"    but cannot: {failed[group.index]}", err=True)
        names[group.index] = member.run.id
    return Seen(observed, films, names, failed)


def _spread(groups: list[Group], most: int) -> list[Group]:
    """At most so many configurations, evenly from the worst return to the best, in their order on the page."""
    if len(groups) <= most:
        return groups
    ranked = sorted(groups, key=_return)
    return sorted((ranked[at * (len(ranked) - 1) // (most - 1)] for at in range(most)), key=lambda group: group.index)


def _return(group: Group) -> float:
    member = group.representative
    return (member.run.summary["return_last_100"] or 0.0) if member else 0.0


def _film(run: Path, trust: bool) -> list[Film]:
    from tempfile import TemporaryDirectory

    from jepakit.agent.video import film_both
    from jepakit.report.page.seen import Film

    with TemporaryDirectory() as folder:
        made = film_both(run, Path(folder), EPISODES, modes=("sampled",), quality=QUALITY, trust=trust)
        return [Film(path.read_bytes(), path.suffix, episode_return) for path, episode_return in made]


def _warn(text: str) -> None:
    typer.echo(f"warning: {text}", err=True)

"""The verdict on collapse, in words."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from jepakit.report.comparison import Row, summarise
from jepakit.report.page.markup import Html, Panel, html, joined
from jepakit.report.page.study import Group, Member, Study
from jepakit.report.page.teachers import teachers
from jepakit.report.statistics import Estimate

MOST_EXPLAINED = 6  #: configurations with sentences of their own
LONGEST_NAMED = 60  #: characters of their labels
LEAST_SHARE = 1e-5
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MOST_NAMED = 3  #: collapsed configurations in the headline
FLAT = 2.0  #: an effective rank below it: almost all variance lies along one direction


def verdict(study: Study) -> Panel:
    """For each configuration: alive or collapsed, why, and its return."""
    rows = summarise([group.configuration for group in study.groups])
    explained = len(rows) <= MOST_EXPLAINED
    cards = joined(_card(group, row, explained) for group, row in zip(study.groups, rows, strict=True))
    body = html('<ul class="cards{}">{}</ul>{}', Html("" if explained else " many"), cards, Html("") if explained else _reasons(study))
    return Panel("verdict", "Verdict", html('<p class="headline">{}</p>', headline(study)), body)


def headline(study: Study) -> str:
    """The page in a sentence or two."""
    collapsed = [f"{group.label} ({_count(group)})" for group in study.groups if _collapsed(group)]
    if not collapsed:
        found = "No embedding collapsed."
    elif len(collapsed) == len(study.groups) == 1:
        found = "The embedding collapsed." if len(study.members) == 1 else f"The embedding collapsed in {_count(study.groups[0])}."
    elif len(collapsed) > MOST_NAMED or sum(map(len, collapsed)) > LONGEST_NAMED:
        found = f"{len(collapsed)} of {len(study.groups)} configurations collapsed."
    else:
        found = f"Collapsed: {'; '.join(collapsed)}."
    rows = summarise([group.configuration for group in study.groups])
    known = [(row.final_return, group.label) for row, group in zip(rows, study.groups, strict=True) if row.final_return]
    if len(known) > 1 and len({(row.env, row.total_steps) for row in rows}) == 1:
        best, label = max(known, key=lambda pair: pair[0].value)
        found += f" The highest return: {label}, {_told(best)}."
    elif len(rows) == 1 and known:
        found += f" It ends with a return of {_told(known[0][0])}."
    return found


def _card(group: Group, row: Row, explained: bool) -> Html:
    state, kind = _state(group)
    sentences = html('<p class="why">{} {}</p>', _figures(group), _why(group)) if explained else Html("")
    return html(
        '<li class="card {kind}" data-config="{index}"><div class="top"><span class="name">'
        '<span class="swatch" data-config="{index}"></span><span>{label}</span></span>'
        '<span class="chip">{state}</span><span class="return">{value}</span></div>'
        '<p class="learns">learns from {teachers}</p>{sentences}</li>',
        kind=kind,
        index=group.index,
        label=group.label,
        state=state,
        value=f"return {_told(row.final_return)}" if row.final_return else _without_return(group),
        teachers=teachers(group.recipe).words,
        sentences=sentences,
    )


def _without_return(group: Group) -> str:
    count = len(group.members)
    none = sum(member.run.summary["return_last_100"] is None for member in group.members)
    return "no episode ended" if none == count else f"no return: {none} of {count} runs ended no episode"


def _state(group: Group) -> tuple[str, Html]:
    """A word or two, and the class that colours them; a sign as well, for whoever sees no colour."""
    collapsed, count = _collapsed(group), len(group.members)
    if collapsed == count:
        return "✕ collapsed", Html("dead")
    if collapsed:
        return f"✕ collapsed in {collapsed} of {count}", Html("dead")
    if any(_collapsed_at(member) is not None for member in group.members):
        return "✓ alive again", Html("alive")
    return "✓ alive", Html("alive")


def _figures(group: Group) -> str:
    """What the embedding holds at the end, in a sentence."""
    variance = [value for member in group.members if (value := member.run.summary["embedding_variance"]) is not None]
    if not variance:
        return "No variance was measured."
    ratio = [value for member in group.members if (value := _ratio(member)) is not None]
    share = f", {_percent(median(ratio))} of the mean square" if ratio else ""
    collapsed = _collapsed(group)
    if collapsed == len(group.members):
        seen = [steps for member in group.members if (steps := _collapsed_at(member)) is not None]
        since = f" First seen at {min(seen):,} env steps." if seen else ""
        return f"Almost every picture gets the same embedding: variance {_small(median(variance))}{share}.{since}"
    rank = [value for member in group.members if (value := member.run.summary["embedding_rank"]) is not None]
    directions = f", effective rank {median(rank):.1f}" if rank else ""
    flat = " Almost all of it lies along one direction." if rank and median(rank) < FLAT else ""
    back = [steps for member in group.members if not member.run.summary["collapsed"] and (steps := _collapsed_at(member)) is not None]
    recovered = f" {_counted(len(back))} had collapsed, first at {min(back):,} env steps, and recovered." if back else ""
    first = "Some runs tell" if collapsed else "Embeddings tell"
    return f"{first} pictures apart: variance {_small(median(variance))}{share}{directions}.{flat}{recovered}"


def _counted(count: int) -> str:
    return "One run" if count == 1 else f"{count} runs"


def _why(group: Group) -> str:
    told = teachers(group.recipe)
    return told.why_collapsed if _collapsed(group) else told.why_alive


def _reasons(study: Study) -> Html:
    """The reasons, each once with all its configurations: for many configurations."""
    shared: dict[str, list[Group]] = defaultdict(list)
    for group in study.groups:
        if _collapsed(group):
            shared[_why(group)].append(group)
    return joined(html('<p class="why"><b>{}</b>: {}</p>', _named(groups), why) for why, groups in shared.items())


def _named(groups: list[Group]) -> str:
    more = f"; and {len(groups) - MOST_NAMED} more" if len(groups) > MOST_NAMED else ""
    return "; ".join(group.label for group in groups[:MOST_NAMED]) + more


def _collapsed(group: Group) -> int:
    return sum(member.run.summary["collapsed"] for member in group.members)


def _count(group: Group) -> str:
    count = len(group.members)
    return f"{_collapsed(group)} of {count} run{'s' if count > 1 else ''}"


def _collapsed_at(member: Member) -> int | None:
    at = member.run.summary.get("collapsed_at")
    return at if isinstance(at, int) else None


def _ratio(member: Member) -> float | None:
    curves = member.history
    square = curves["embedding/mean_square"].values[-1] if "embedding/mean_square" in curves else 0.0
    variance = member.run.summary["embedding_variance"]
    return None if variance is None or not square else float(variance / square)


def _percent(share: float) -> str:
    if share < LEAST_SHARE:
        return "less than 0.001%"
    return f"{share:.1%}" if share >= 0.001 else f"{share:.3%}"


def _small(value: float) -> str:
    """A number that may be tiny, as 5.4×10⁻⁷, which no line break splits."""
    if value >= 0.001 or value <= 0:
        return f"{value:.3g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}×10{str(int(exponent)).translate(RAISED)}"


def _told(estimate: Estimate) -> str:
    interval = f" [{_short(estimate.interval.low)}, {_short(estimate.interval.high)}]" if estimate.interval else ""
    return f"{_short(estimate.value)}{interval}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"

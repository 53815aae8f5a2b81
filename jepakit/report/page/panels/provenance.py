"""Where each number comes from."""

from __future__ import annotations

from typing import Any

import yaml

from jepakit.errors import shown
from jepakit.report.page.markup import Html, Panel, html, joined, table
from jepakit.report.page.study import Member, Study

LONGEST = 60
MOST_RECIPE = 20_000  #: characters of a recipe

WORDS = html(
    "<p>The same recipe, seed and code give the same numbers on the same kind of processor, bit for bit. To repeat a run, check out its "
    "commit, save its recipe from here and call <code>jepakit run RECIPE</code>.</p>"
)
HEADINGS = ("run", "configuration", "seed", "status", "env steps", "started", "commit", "jepakit", "torch", "python", "processor", "device")


def provenance(study: Study) -> Panel:
    """Every run with its code and machine, and every configuration's recipe."""
    rows = [(html("<code>{}</code>", member.run.id), group.label, *_told(member)) for group in study.groups for member in group.members]
    recipes = joined(
        html("<details><summary>Recipe of {}</summary><pre>{}</pre></details>", group.label, _dumped(group.recipe))
        for group in study.groups
    )
    opened = Html(" open" if len(rows) <= 8 else "")
    runs = html("<details{}><summary>{} and where they ran</summary>{}</details>", opened, _counted(len(rows)), table(HEADINGS, rows))
    return Panel("provenance", "Provenance", WORDS, joined([runs, recipes]))


def _told(member: Member) -> list[str]:
    run, found = member.run, member.run.provenance
    git = found.get("git")
    commit = f"{str(git.get('sha'))[:10]}{' + changes' if git.get('dirty') else ''}" if isinstance(git, dict) else "–"
    packages = found.get("packages")
    versions = [packages.get(name, "–") if isinstance(packages, dict) else "–" for name in ("jepakit", "torch")]
    steps = run.summary["env_steps"]
    machine = [found.get(name, "–") for name in ("python", "cpu")]
    device = f"{found.get('device', '–')}, {found.get('precision', '–')}, {found.get('threads', '–')} threads"
    values: list[Any] = [run.seed, run.summary["status"], f"{steps:,}", found.get("started", "–"), commit, *versions, *machine, device]
    return [shown(str(value), LONGEST) for value in values]


def _dumped(recipe: dict[str, Any]) -> str:
    return _cut(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_RECIPE else f"{text[:MOST_RECIPE]}\n… ({len(text) - MOST_RECIPE:,} more characters)"


def _counted(count: int) -> str:
    return f"{count} run{'s' if count > 1 else ''}"

"""Collects the site's pages: those of ``docs/``, others of the repository, and the reference, with links that work on the site."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import yaml

from docs.site import api, cli, components, recipes
from jepakit.registry import SLOTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Pages from outside ``docs/``, and where the site has them.
FROM_ELSEWHERE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
NOT_SHOWN = ("compare.md", "figure3.md")  #: tables that other pages link to
INSTEAD = {"README.md": "index.md"}  #: a link to the left goes to the right
_KIND = re.compile(r"^\| (\w+) \| `(\w+)` \|")  #: a row of the table of components
_FENCE = re.compile(r"^ *```")
_LINK = re.compile(r"(?P<link>!?\[(?:[^\]`]|`[^`]*`)*\]\((?P<target>[^)\s]+)\))|(?P<code>`jepakit [^`]+`)|`[^`]*`")


def collect(folder: Path) -> None:
    """Write everything that the site is built from to ``folder``.

    Raises:
        SystemExit: A link leads to nothing, or the navigation lacks a page.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("site", "__pycache__"))
    for name in ("style.css", "iframe-worker.js"):
        shutil.copy(DOCS / "site" / name, folder / name)
    broken: list[str] = []
    for source, page in sources().items():
        written = folder / page
        written.write_text(_on_the_site(source, page, folder, broken), encoding="utf-8")
    for page, text in generated().items():
        written = folder / page
        written.parent.mkdir(exist_ok=True)
        written.write_text(text, encoding="utf-8")
    shown, written_pages = set(_navigation()), {*sources().values(), *generated()}
    broken += [f"mkdocs.yml: there is no page {page}" for page in sorted(shown - written_pages)]
    broken += [f"mkdocs.yml: the navigation lacks {page}" for page in sorted(written_pages - shown) if Path(page).name not in NOT_SHOWN]
    if broken:
        raise SystemExit("\n".join(broken))


def sources() -> dict[Path, str]:
    """The written pages, each with its place on the site."""
    pages = {page: str(page.relative_to(DOCS)) for page in sorted(DOCS.rglob("*.md"))}
    return pages | {ROOT / name: page for name, page in FROM_ELSEWHERE.items()}


def _navigation() -> Iterator[str]:
    """The pages that ``mkdocs.yml`` shows."""
    waiting = [yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]]
    while waiting:
        match waiting.pop():
            case str(page):
                yield page
            case dict(section):
                waiting += section.values()
            case list(entries):
                waiting += entries


@cache
def generated() -> dict[str, str]:
    """The reference: each page's place on the site, and its text."""
    pages = {f"reference/{slot}.md": components.page(slot) for slot in SLOTS}
    more: dict[str, Callable[[], str]] = {"recipe": recipes.fields, "shipped_recipes": recipes.shipped, "cli": cli.page, "api": api.page}
    return pages | {f"reference/{name}.md": text() for name, text in more.items()}


def _on_the_site(source: Path, page: str, folder: Path, broken: list[str]) -> str:
    """A page's text with links that lead to pages of the site, and with links from each command to its reference."""
    known = sources() | {ROOT / old: new for old, new in INSTEAD.items()}
    up = os.path.relpath(".", Path(page).parent)

    def replaced(found: re.Match[str]) -> str:
        if found["code"]:
            return _to_reference(found["code"], up)
        target, _, anchor = (found["target"] or "").partition("#")
        if not target or ":" in target:
            return found[0]
        path = (source.parent / target).resolve()
        if path.is_dir():
            place = _listing(path, folder)
        elif path in known:
            place = known[path]
        elif path.is_relative_to(DOCS) and path.is_file():
            place = str(path.relative_to(DOCS))
        else:
            broken.append(f"{source.relative_to(ROOT)}: the site has no page for the link to {target}")
            return found[0]
        there = os.path.relpath(place, Path(page).parent) + (f"#{anchor}" if anchor else "")
        return found[0].replace(f"({found['target']})", f"({there})")

    lines, fenced = [], False
    for line in source.read_text(encoding="utf-8").splitlines():
        fenced ^= bool(_FENCE.match(line))
        if not fenced and not line.startswith(("    ", "#")):
            line = _LINK.sub(replaced, line)
            if page == "components.md":
                line = _KIND.sub(r"| \1 | [`\2`](reference/\1.md#\2) |", line)
        lines.append(line)
    return "\n".join(lines) + "\n"


def _to_reference(code: str, up: str) -> str:
    """An inline command as a link to what it explains: a kind, a slot or the verb itself."""
    verb, *words = code.strip("`").split()[1:]
    if verb == "explain" and words and words[0] in SLOTS:
        kind = words[1] if len(words) > 1 and words[1].islower() else ""
        return f"[{code}]({up}/reference/{words[0]}.md{'#' + kind if kind else ''})"
    return f"[{code}]({up}/reference/cli.md#jepakit-{verb})" if verb in cli.verbs() else code


def _listing(path: Path, folder: Path) -> str:
    """The page that lists the files of a linked folder, as GitHub would show."""
    place = path.relative_to(DOCS)
    files = sorted(file.name for file in path.iterdir() if file.is_file())
    rows = "\n".join(f"- [{name}]({name})" for name in files)
    (folder / place / "index.md").write_text(f"# Files in {place}\n\n{rows}\n", encoding="utf-8")
    return f"{place}/index.md"

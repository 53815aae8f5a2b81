"""The pages of the docs site, as `make docs` collects them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import jepakit
from docs.site.pages import collect
from jepakit import registry


def test_the_site_has_every_page_and_every_fact_of_the_registry(tmp_path: Path) -> None:
    collect(tmp_path / "pages")  # exits if a link leads nowhere, or the navigation lacks a page
    for found in registry.components():
        if found.cls.__module__.startswith("jepakit."):
            page = (tmp_path / "pages" / "reference" / f"{found.slot}.md").read_text()
            (section,) = re.findall(rf"^## {found.kind}\n.*?(?=^## |\Z)", page, re.S | re.M)
            assert all(f"| `{field}` |" in section for field in found.fields.model_fields if field != "kind")
    assert "[`vit`](reference/encoder.md#vit)" in (tmp_path / "pages" / "components.md").read_text()
    assert "](architecture.md#where-a-new-line-belongs)" in (tmp_path / "pages" / "contributing.md").read_text()
    assert "--total-steps N" in (tmp_path / "pages" / "reference" / "cli.md").read_text()
    assert all(f"\n### {name}\n" in (tmp_path / "pages" / "reference" / "api.md").read_text() for name in jepakit.__all__)


def test_a_page_that_is_not_there_stops_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n[gone](gone.md)\n\n    [code](is_code.md)\n")
    for name in ("style.css", "iframe-worker.js"):
        (tmp_path / "docs" / "site").mkdir(exist_ok=True)
        (tmp_path / "docs" / "site" / name).touch()
    (tmp_path / "mkdocs.yml").write_text("nav: [{Start: [index.md, missing.md]}]")
    monkeypatch.setattr("docs.site.pages.ROOT", tmp_path)
    monkeypatch.setattr("docs.site.pages.DOCS", tmp_path / "docs")
    monkeypatch.setattr("docs.site.pages.FROM_ELSEWHERE", {})
    with pytest.raises(SystemExit) as stopped:
        collect(tmp_path / "pages")
    lines = str(stopped.value).splitlines()
    assert lines[:2] == ["docs/index.md: the site has no page for the link to gone.md", "mkdocs.yml: there is no page missing.md"]
    assert "mkdocs.yml: the navigation lacks reference/cli.md" in lines

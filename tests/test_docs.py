"""What README and docs say of fields, files and kinds is complete, and their links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jepakit import registry
from jepakit.recipe import Recipe
from jepakit.training.run import run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SMALL = ["total_steps=64", "env.num_envs=2", "algorithm.rollout_steps=16", "algorithm.minibatch_size=16", "threads=1"]


def test_every_built_in_kind_has_a_row_in_the_components_page() -> None:
    page = (ROOT / "docs" / "components.md").read_text()
    for found in registry.components():
        if found.cls.__module__.startswith("jepakit."):
            assert f"| {found.slot} | `{found.kind}` |" in page


def test_every_slot_and_context_name_is_in_the_components_page() -> None:
    page = (ROOT / "docs" / "components.md").read_text()
    assert all(f"| `{name}` |" in page for name in registry.CONTEXT)
    assert all(re.search(rf"^\| {name} \|", page, re.M) for name in registry.SLOTS)


def test_every_field_that_a_run_writes_is_in_the_guide(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    run("cartpole_pixels", overrides=[*SMALL, "regularizers=[{kind: variance}]"], out=tmp_path / "out", quiet=True)
    records = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    fields = {re.sub("(regularizer/).*", r"\1<kind>", field) for record in records for field in record}
    assert {field for field in fields if f"`{field}`" not in guide} - {"phase"} == set()
    assert {path.name for path in (tmp_path / "out").iterdir() if f"`{path.name}" not in guide} == set()


def test_the_guides_recipe_names_every_field() -> None:
    block = re.search(r"^    name: cartpole_pixels.*?\n\n", (ROOT / "docs" / "guide.md").read_text(), re.S | re.M)
    assert block
    named = set(re.findall(r"^    (\w+):", block[0], re.M))
    assert named == set(Recipe.model_fields) - {"case", "parent", "sweep"}  # which other commands write, or another page explains


def prose(page: Path) -> str:
    """A page's text without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_local_link_resolves(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#\s]*)#?([^)\s]*)\)", prose(page)):
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"

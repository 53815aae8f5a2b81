"""What a release consists of agrees: version, changelog, citation, image and workflows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from jepakit.version import __version__

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_changelog_has_the_version_and_the_citation_is_of_a_known_one() -> None:
    versions = re.findall(r"^## \[([0-9.]+)\] - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    cited = read(ROOT / "CITATION.cff")["version"]
    assert __version__ in versions
    assert cited in versions


@pytest.mark.skipif(not WORKFLOWS, reason="an sdist has no workflows")
def test_workflows_have_few_rights_and_call_what_the_makefile_has() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in WORKFLOWS:
        workflow = read(path)
        assert workflow["permissions"] == {"contents": "read"}
        jobs = workflow["jobs"]
        for name, job in jobs.items():
            assert set(job.get("permissions", {})) == ({"id-token"} if name == "publish" else set())
            assert all(needed in jobs for needed in job.get("needs", []))
            for step in job.get("steps", []):
                assert set(re.findall(r"\bmake (\w+)", step.get("run", ""))) <= targets
                assert "${{" not in step.get("run", "")  # a tag's name could be a command
    assert read(ROOT / ".github/workflows/checks.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


@pytest.mark.skipif(not (ROOT / "Dockerfile").exists(), reason="an sdist has no Dockerfile")
def test_what_the_image_copies_is_there_and_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    lines = [
        line.split()[1:-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY ") and "--from" not in line
    ]
    copied = {name for names in lines for name in names}
    assert copied <= sent
    assert all((ROOT / name).exists() for name in sent)
    extras = re.search(r"^ARG EXTRAS=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert extras
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = ", declared, re.MULTILINE) for extra in extras[1].split(","))

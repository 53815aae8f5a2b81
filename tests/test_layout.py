"""The rooms are as docs/architecture.md says: imports run one way, none in a circle, and no folder is too full to read."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import jepakit
from jepakit.registry import SLOTS

ROOT = Path(jepakit.__file__).parent
#: Lowest first: each imports only from those before it.
ROOMS = [
    {"errors", "files", "protocols", "version"},
    {"registry"},
    {"diagnostics"},
    {"components"},
    {"recipe"},
    {"machine"},
    {"storage"},
    {"training"},
    {"agent", "profiling", "report", "testing"},
    {"sweep"},
    {"studies", "tuning"},
    {"cli"},
]
MOST_MODULES = 12  #: in one folder, beside its ``__init__``
MANY = {"cli": "one file a verb", "templates": "one file a slot", "tests": "of the templates"}
FACADE = {"__init__", "__main__"}  #: what users import, and `python -m jepakit`: above all rooms


def modules() -> dict[str, Path]:
    """Every module of jepakit by its dotted name, the templates apart, which are a user's code."""
    found = {}
    for file in ROOT.rglob("*.py"):
        place = file.relative_to(ROOT).with_suffix("")
        if place.parts[0] not in FACADE and "templates" not in place.parts:
            found[".".join(part for part in ("jepakit", *place.parts) if part != "__init__")] = file
    return found


def imports(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of jepakit that a file imports: in functions and for type checkers, too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "jepakit")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "jepakit":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


@pytest.fixture(scope="module")
def edges() -> dict[str, set[str]]:
    known = modules()
    found = defaultdict(set)
    for name, file in known.items():
        found[name] = set(imports(file, known)) - {name}
    assert len(found) > 150
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_rooms_import_only_from_rooms_below_them(edges: dict[str, set[str]]) -> None:
    rank = {name: i for i, rooms in enumerate(ROOMS) for name in rooms}
    wrong = [
        f"{module} imports {other}"
        for module, others in edges.items()
        for other in others
        if room(other) != room(module) and rank.get(room(other), 99) >= rank[room(module)]
    ]
    assert not wrong


def test_no_module_imports_in_a_circle(edges: dict[str, set[str]]) -> None:
    # a package's __init__ that gathers its modules is imported with each of them: the circle that counts is one of modules
    graph = {module: {other for other in others if not module.startswith(f"{other}.")} for module, others in edges.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_slots_components_know_no_other_slot(edges: dict[str, set[str]]) -> None:
    folders = {slot.package for slot in SLOTS.values()}
    wrong = [
        f"{module} imports {other}"
        for module, others in edges.items()
        for other in others
        if {home := ".".join(module.split(".")[:3]), ".".join(other.split(".")[:3])} <= folders and not other.startswith(home)
    ]
    assert not wrong


def test_all_slots_are_in_one_place() -> None:
    assert {slot.package.rpartition(".")[0] for slot in SLOTS.values()} == {"jepakit.components"}


def test_no_folder_is_too_full_to_read() -> None:
    full = {}
    for folder in {file.parent for file in ROOT.rglob("*.py")}:
        count = sum(file.stem != "__init__" for file in folder.glob("*.py"))
        if count > MOST_MODULES and folder.name not in MANY:
            full[str(folder.relative_to(ROOT))] = count
    assert not full


def test_one_file_shows_the_path_from_a_batch_to_the_optimizer_step() -> None:
    learner = (ROOT / "training" / "learner.py").read_text()
    assert learner.count("\n") < 300
    assert all(step in learner for step in ("def learn(", "def losses(", "backward()", "optimizer.step()"))

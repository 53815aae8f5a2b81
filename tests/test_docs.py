"""The commands, code and tables in README and docs are correct and complete."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import typer.main

from jepakit import registry
from jepakit.agent.named_function import named_function
from jepakit.cli.app import app
from jepakit.recipe import load_recipe, recipe_id
from jepakit.training.run import run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = ["total_steps=64", "env.num_envs=2", "algorithm.rollout_steps=16", "algorithm.minibatch_size=16", "threads=1"]


def commands() -> list[str]:
    found = [line for page in PAGES for line in re.findall(r"^ {4}(?:\.venv/bin/)?(jepakit .*?)(?:\s+#.*| >.*)?$", page.read_text(), re.M)]
    return found + [line for page in PAGES for line in re.findall(r"`(jepakit [^`>]*)[^`]*`", page.read_text())]


def test_every_command_in_the_docs_parses() -> None:
    group: Any = typer.main.get_command(app)
    tried = 0
    for line in commands():
        verb, *arguments = shlex.split(line)[1:]
        if verb.startswith("-") or not arguments or any(word.isupper() for word in arguments):
            continue  # `jepakit eval` and `jepakit eval RUN` only mention the verb
        group.commands[verb].make_context(verb, arguments)
        tried += 1
    assert tried > 10


def test_the_readmes_encoder_runs_with_the_readmes_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert len([line for line in block.splitlines() if line.strip()]) <= 20
    (tmp_path / "my_encoder.py").write_text(block)
    (line,) = [line for line in commands() if "encoder.kind=my_cnn" in line]
    words = shlex.split(line)
    overrides = [value for option, value in pairwise(words) if option == "--set"]
    monkeypatch.chdir(tmp_path)
    result = run("cartpole_pixels", overrides=[*overrides, *SMALL], out="out", quiet=True)
    assert result.summary["status"] == "finished"


def test_the_readmes_recipe_is_the_shipped_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (tmp_path / "mine.yaml").write_text(block)
    assert recipe_id(load_recipe(tmp_path / "mine.yaml")) == recipe_id(load_recipe("cartpole_pixels"))


def test_the_example_recipe_runs_with_both_its_components(tmp_path: Path) -> None:
    recipe = ROOT / "docs" / "examples" / "custom.yaml"
    result = run(recipe, overrides=SMALL, out=tmp_path / "out", quiet=True)
    last = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])
    assert result.summary["status"] == "finished"
    assert "loss/regularizer/hinge" in last
    assert load_recipe(recipe).encoder.kind == "my_cnn"


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


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)


def test_the_task_pages_code_registers_its_env() -> None:
    (block,) = python_blocks("your_task.md")
    try:
        exec(block, {})
        assert "Toy-v0" in gymnasium.registry
    finally:
        gymnasium.registry.pop("Toy-v0", None)


def test_the_probe_pages_function_reads_a_state(tmp_path: Path) -> None:
    (block,) = python_blocks("probes.md")
    (tmp_path / "my_state.py").write_text(block)
    pole = gymnasium.make("CartPole-v1").unwrapped
    pole.reset(seed=0)
    tip = named_function(f"{tmp_path / 'my_state.py'}:tip", "--state")
    assert tip(pole)["height"] == pytest.approx(1, abs=0.01)
    assert list(tip(pole)) == ["tip", "height"]


def test_the_python_pages_script_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    script = tmp_path / "script.py"
    script.write_text("\n".join(python_blocks("python.md")))
    monkeypatch.chdir(tmp_path)
    try:
        names = runpy.run_path(str(script))
    finally:
        registry.forget(lambda module: module == "<run_path>")
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"my_run [0-9.]+", printed[0])
    assert printed[1:5] == ["32 0.99", "128 1.0", "finished", "12 Ĵ∇R̂ 100 recorded"]
    assert printed[5].startswith("gradients_to_encoder=false Estimate(")
    assert names["s_x"].shape == (8, 64)
    assert re.fullmatch(r"return [1-9][0-9]*", printed[-1])


def test_the_parts_train_in_a_custom_loop() -> None:
    names: dict[str, Any] = {}
    for block in python_blocks("parts.md"):
        exec(block, names)
    assert names["losses"][-1] < 0.5 * names["losses"][0]
    assert names["encoder"](names["steps"]["pixels"][:8]).shape == (8, 64)


def test_every_import_in_the_parts_table_works() -> None:
    lines = re.findall(r"`(from [^`]+)`", (ROOT / "docs" / "parts.md").read_text())
    assert len(lines) >= 7
    for line in lines:
        exec(line, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_local_link_resolves(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target

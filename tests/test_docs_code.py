"""The commands and the code in README and docs run, or parse where they train for minutes."""

from __future__ import annotations

import ast
import inspect
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

import jepakit
from jepakit import registry
from jepakit.agent.named_function import named_function
from jepakit.cli.app import app
from jepakit.recipe import load_recipe, recipe_id
from jepakit.training.run import run
from jepakit.tuning.candidates import load_candidates
from jepakit.tuning.space_file import read_space

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SMALL = ["total_steps=64", "env.num_envs=2", "algorithm.rollout_steps=16", "algorithm.minibatch_size=16", "threads=1"]


def commands() -> list[str]:
    pages = [re.sub(r" \\\n +", " ", page.read_text()) for page in PAGES]  # a command may go on in the next line
    found = [line for page in pages for line in re.findall(r"^ {4}(?:\.venv/bin/)?(jepakit .*?)(?:\s+#.*| >.*)?$", page, re.M)]
    return found + [line for page in pages for line in re.findall(r"`(jepakit [^`>]*)[^`]*`", page)]


def test_every_command_in_the_docs_parses() -> None:
    group: Any = typer.main.get_command(app)
    tried = 0
    for line in commands():
        verb, *arguments = (word.removesuffix("…") for word in shlex.split(line)[1:])
        if verb.startswith("-"):
            assert verb in {"--traceback", "--version", "--help", "--install-completion"}, line
        elif not arguments:
            assert verb in group.commands, line  # a mention of the verb
        else:
            try:
                group.commands[verb].make_context(verb, ["1" if word == "N" else word for word in arguments if word])
            except Exception as error:
                raise AssertionError(f"{line}: {error}") from error
            tried += 1
    assert tried > 100


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


def test_the_tutorials_runs_have_the_ids_that_it_shows() -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text()
    (line,) = [line for line in commands() if "name=first" in line and " run " in line and line in page]
    overrides = [value for option, value in pairwise(shlex.split(line)) if option == "--set"]
    shown = set(re.findall(r"runs/first/([0-9a-f]{10})", page))
    assert shown == {recipe_id(load_recipe("cartpole_pixels", [*overrides, "device=cpu"]))}


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


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)


def yaml_blocks(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)


def test_the_task_pages_env_trains_with_the_pages_recipe(tmp_path: Path) -> None:
    (block,), (recipe,) = python_blocks("your_task.md"), [each for each in yaml_blocks("your_task.md") if "toy.py" in each]
    (tmp_path / "toy.py").write_text(block)
    (tmp_path / "recipe.yaml").write_text(recipe)
    try:
        result = run(tmp_path / "recipe.yaml", overrides=SMALL, out=tmp_path / "out", quiet=True)
        assert result.summary["status"] == "finished"
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
    script.write_text("\n".join(python_blocks("python.md") + python_blocks("use.md")))
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
    assert (tmp_path / "episode.mp4").stat().st_size > 0
    assert max(names["returns"]) == 200


def test_the_calls_that_the_python_page_only_mentions_fit_their_functions() -> None:
    lines = re.findall(r"^    (?:\w+ = )?jepakit\.\w+\(.*\)$", (ROOT / "docs" / "python.md").read_text(), re.M)
    lines += re.findall(r"`(jepakit\.\w+\([^`…]*\))`", "\n".join(page.read_text() for page in PAGES))
    assert len(lines) >= 6
    for line in lines:
        calls = (node for node in ast.walk(ast.parse(line.strip())) if isinstance(node, ast.Call))
        (call,) = (node for node in calls if ast.unparse(node.func).startswith("jepakit."))
        function = getattr(jepakit, ast.unparse(call.func).removeprefix("jepakit."))
        inspect.signature(function).bind(*call.args, **{str(each.arg): each.value for each in call.keywords})


def test_the_encoder_pages_code_passes_the_check_and_its_recipe_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, check = python_blocks("write_an_encoder.md")
    (recipe,) = yaml_blocks("write_an_encoder.md")
    monkeypatch.chdir(tmp_path)
    Path("small_cnn.py").write_text(written)
    Path("mine.yaml").write_text(recipe)
    try:
        assert load_recipe("mine.yaml").encoder.kind == "small_cnn"
        exec(check, {})
    finally:
        registry.forget(lambda module: "small_cnn" in module)


def test_the_recipes_of_the_guides_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.py").write_text(python_blocks("your_task.md")[0])
    (sweep,), (env,), (task,) = (yaml_blocks(page) for page in ("ablation.md", "guide.md", "your_task.md"))
    Path("sweep.yaml").write_text("extends: cartpole_pixels\n" + sweep)
    Path("env.yaml").write_text(env)
    Path("task.yaml").write_text(task)
    try:
        assert load_recipe("sweep.yaml").sweep.size == 3 * 2 * 2 * 5  # as the page says
        assert load_recipe("env.yaml").env.wrappers[0].path == "gymnasium.wrappers:AtariPreprocessing"
        assert load_recipe("task.yaml").env.id == "Toy-v0"
    finally:
        gymnasium.registry.pop("Toy-v0", None)


def test_the_tune_pages_space_fits_the_recipe_of_its_command(tmp_path: Path) -> None:
    (space,) = yaml_blocks("tune.md")
    (tmp_path / "space.yaml").write_text(space)
    candidates = load_candidates("cartpole_pixels", ["total_steps=20_000"], read_space(tmp_path / "space.yaml"))
    assert set(candidates.defaults()) >= {"optimizer.lr", "algorithm.epochs", "jepa.target.decay (ema)", "regularizers"}


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

"""Recipes that give the same results have the same id; all others have different ids."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

from jepakit.errors import UserError
from jepakit.recipe import load_recipe, recipe_id
from jepakit.registry import plugins

Write = Callable[[str, str], Path]
BASE = "seed: 1\nenv: {kind: fake, id: x}\nencoder: {kind: small, dim: 8}\nregularizers: [{kind: spread}]\n"
PLUGIN = """\
from jepakit import register
@register("encoder", "mine")
class Mine:
    def __init__(self, frames, *, dim: int = 3): ...
"""


def identity(write: Write, text: str, *overrides: str) -> str:
    return recipe_id(load_recipe(write("r.yaml", text), overrides))


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\nencoder:\n  dim: 8\n  kind: small\nregularizers:\n- kind: spread\nenv: {id: 'x', kind: fake}\nseed: 0o1\n",
        "extends: base.yaml",
        "extends: base.yaml\nencoder: {dim: 8}",
        BASE + "name: other\ncheckpoint_every: 5",
        BASE + "jepa: {horizon: 1}\ntotal_steps: 100_000\noptimizer: {lr: 0.001}",
        BASE.replace("spread}", "spread, weight: 1}"),
        BASE + "plugins: []",
    ],
)
def test_the_id_ignores_how_a_recipe_is_written(write: Write, text: str) -> None:
    write("base.yaml", BASE)
    assert identity(write, text) == identity(write, BASE)


@pytest.mark.parametrize(
    "override",
    [
        "seed=2",
        "encoder.dim=9",
        "regularizers.0.weight=2",
        "regularizers.0.threshold=2",
        "jepa=null",
        "env.id=y",
        "optimizer.lr=1",
        "threads=1",
    ],
)
def test_the_id_depends_on_what_affects_results(write: Write, override: str) -> None:
    assert identity(write, BASE, override) != identity(write, BASE)


def test_the_id_depends_only_on_the_content_of_plugins(write: Write) -> None:
    for name in ("a.py", "deep/b.py"):
        write(name, PLUGIN)
    write("other.py", "x = 1")
    text = "seed: 1\nenv: {kind: fake, id: x}\nencoder: {kind: mine}\n"
    by_path = identity(write, text + "plugins: [a.py, other.py]")
    assert identity(write, text + "plugins: [./other.py, deep/b.py]") == by_path
    assert identity(write, text + "plugins: [a.py, deep/b.py, other.py]") == by_path
    write("a.py", PLUGIN + "# changed\n")
    assert identity(write, text + "plugins: [a.py, other.py]") != by_path


@pytest.mark.parametrize("base", ["Base", "object"])
def test_the_id_depends_on_your_own_modules_that_a_plugin_imports(
    base: str, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    write("plugins/mine.py", "import json\nfrom base_of_mine import Base\n" + PLUGIN.replace("class Mine:", f"class Mine({base}):"))
    text = BASE.replace("kind: small, dim: 8", "kind: mine") + "plugins: [plugins/mine.py]\n"
    monkeypatch.syspath_prepend(elsewhere)
    found = []
    for factor in (1, 100, 1):
        write("elsewhere/base_of_mine.py", f"class Base:\n    factor = {factor}\n")
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, "base_of_mine", raising=False)  # as in a new process
        monkeypatch.delitem(plugins._importable, "base_of_mine", raising=False)
        plugins.load_plugins([])
        found.append(identity(write, text))
    assert found[0] == found[2] != found[1]


def test_the_id_depends_on_what_imported_modules_import(write: Write, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.syspath_prepend(folder / "lib")
    write("plugins/mine.py", "import first_of_mine\n" + PLUGIN)
    write("lib/first_of_mine.py", "import json, second_of_mine\n")
    text = BASE.replace("kind: small, dim: 8", "kind: mine") + "plugins: [plugins/mine.py]\n"
    found = []
    for gain in (1, 2, 1):
        write("lib/second_of_mine.py", f"import first_of_mine\ngain = {gain}\n")
        write("lib/third_of_mine.py", f"gain = {gain}\n")
        for module in ("first_of_mine", "second_of_mine"):
            as_in_a_new_process(monkeypatch, module)
        found.append(identity(write, text))
    assert found[0] == found[2] != found[1]


def test_runs_in_a_package_that_a_plugin_imports_do_not_change_the_id(write: Write, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.syspath_prepend(folder)
    write("lab_of_mine/__init__.py", "")
    write("lab_of_mine/helper.py", "factor = 1\n")
    write("lab_of_mine/parts.py", "from lab_of_mine.helper import factor\nimport data_of_mine\n" + PLUGIN)
    write("data_of_mine/files/code.py", "a = 1")  # an import that Python takes for a package
    text = BASE.replace("kind: small, dim: 8", "kind: mine") + "plugins: [lab_of_mine/parts.py]\n"
    before = identity(write, text)
    for place in ("runs/mine/0/", "runs/jobs/0/"):
        write(f"lab_of_mine/{place}recipe.yaml", "")
        write(f"lab_of_mine/{place}plugins/parts.py", "copied = 1")
    write("lab_of_mine/runs/mine/0/events.jsonl", "")
    write("lab_of_mine/env/pyvenv.cfg", "")
    write("lab_of_mine/env/lib/site.py", "")
    assert identity(write, text) == before
    write("lab_of_mine/runs/model.py", "")
    as_in_a_new_process(monkeypatch, "lab_of_mine")
    assert identity(write, text) != before


def test_the_id_depends_on_the_source_of_used_components(write: Write, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.syspath_prepend(folder)
    text = "env: {kind: fake, id: x}\nencoder: {kind: mine}\n"
    write("installed_components.py", PLUGIN)
    __import__("installed_components")
    before = identity(write, text)
    unused = identity(write, text, "encoder.kind=small")
    write("installed_components.py", PLUGIN + "# changed")
    with pytest.raises(UserError, match=r"the source of the encoder `mine` was edited after this process had imported it"):
        identity(write, text)
    assert identity(write, text, "encoder.kind=small") == unused
    importlib.reload(sys.modules["installed_components"])  # as in a new process
    assert identity(write, text) != before


@pytest.mark.parametrize("used", ["register('encoder', 'mine')(Net)", "@register('encoder', 'mine')\nclass Mine(Net): ..."])
def test_the_id_depends_on_the_file_of_a_class_that_another_file_registers(
    write: Write, monkeypatch: pytest.MonkeyPatch, used: str
) -> None:
    monkeypatch.syspath_prepend(write("registers.py", f"from jepakit import register\nfrom helper import Net\n{used}\n").parent)
    ids = []
    for gain in (1, 2):
        write("helper.py", f"class Net:\n    gain = {gain}\n    def __init__(self, frames, *, dim: int = 3): ...\n")
        for name in ("helper", "registers"):  # as in a new process
            monkeypatch.delitem(sys.modules, name, raising=False)
            monkeypatch.delitem(plugins._importable, name, raising=False)
        importlib.invalidate_caches()
        importlib.import_module("registers")
        ids.append(identity(write, "env: {kind: fake, id: x}\nencoder: {kind: mine}\n"))
    assert ids[0] != ids[1]
    write("helper.py", "")
    with pytest.raises(UserError, match="the module `helper` was edited"):
        identity(write, "env: {kind: fake, id: x}\nencoder: {kind: mine}\n")


def as_in_a_new_process(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(plugins._importable, package, raising=False)
    importlib.invalidate_caches()


@pytest.mark.parametrize("is_library", [False, True])
def test_the_id_depends_on_the_package_of_a_component_and_of_an_env(
    write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch, is_library: bool
) -> None:
    """Of an installed package that offers components, too; a library that only has envs is on record by its version."""
    place = "lib/site-packages/" if is_library else ""
    monkeypatch.syspath_prepend(folder / place)
    write(f"{place}offers/__init__.py", "from offers import parts\n")
    write(f"{place}offers/parts.py", PLUGIN)
    envs = "import gymnasium\nif 'Packaged-v0' not in gymnasium.registry:\n    gymnasium.register('Packaged-v0', 'offers.nets:Env')\n"
    component = "env: {kind: fake, id: x}\nencoder: {kind: mine}\n"
    found: dict[str, list[str]] = {"component": [], "env": [], "offered env": []}
    for gain in (1, 2):
        write(f"{place}offers/nets.py", f"gain = {gain}\n{envs}")
        as_in_a_new_process(monkeypatch, "offers")
        importlib.import_module("offers.nets")
        found["component"].append(identity(write, component))
        recipe = load_recipe("cartpole_pixels", {"env.id": "Packaged-v0"})
        found["env"].append(recipe_id(recipe))
        with monkeypatch.context() as patch:
            patch.setattr("importlib.metadata.entry_points", lambda group: [SimpleNamespace(name="offers", module="offers.parts")])
            found["offered env"].append(recipe_id(recipe))
    gymnasium.registry.pop("Packaged-v0")
    as_in_a_new_process(monkeypatch, "offers")
    assert {name: one != other for name, (one, other) in found.items()} == {"component": True, "env": not is_library, "offered env": True}


def test_the_id_depends_on_the_script_that_registers_the_env(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for gain in (1, 2):
        monkeypatch.setattr(sys.modules["__main__"], "__file__", str(write("script.py", f"gain = {gain}")), raising=False)
        monkeypatch.setitem(gymnasium.registry, "Scripted-v0", EnvSpec("Scripted-v0", type("Scripted", (), {"__module__": "__main__"})))
        ids.append(recipe_id(load_recipe("cartpole_pixels", {"env.id": "Scripted-v0"})))
    assert ids[0] != ids[1]
    write("script.py", "gain = 3")
    with pytest.raises(UserError, match="the source of the env `Scripted-v0` was edited after this process had imported it"):
        recipe_id(load_recipe("cartpole_pixels", {"env.id": "Scripted-v0"}))


def test_an_edit_before_the_first_id_is_noticed_too(write: Write, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.syspath_prepend(folder)
    write("imported_early.py", PLUGIN)
    __import__("imported_early")
    write("imported_early.py", PLUGIN + "# changed")
    with pytest.raises(UserError, match=r"the source of the encoder `mine` was edited after this process had imported it"):
        identity(write, "env: {kind: fake, id: x}\nencoder: {kind: mine}\n")
    with pytest.raises(UserError, match=r"the module `imported_early` was edited after this process had imported it"):
        load_recipe(write("r.yaml", "plugins: [imported_early]\nenv: {kind: fake, id: x}\nencoder: {kind: mine}\n"))


@pytest.mark.parametrize("changes", [{"env.id": "named_here:Mine-v0"}, {"env.wrappers": [{"path": "named_here:Mine"}]}])
def test_the_id_depends_on_the_code_of_modules_that_the_env_names(write: Write, monkeypatch: pytest.MonkeyPatch, changes: Any) -> None:
    recipe = load_recipe("cartpole_pixels", changes)
    ids = []
    for source in ("g = 1\n", "g = 2\n"):
        monkeypatch.syspath_prepend(write("named_here.py", source).parent)
        ids.append(recipe_id(recipe))
    assert ids[0] != ids[1]
    monkeypatch.setitem(sys.modules, "named_here", ModuleType("named_here"))  # which removes it afterwards
    del sys.modules["named_here"]
    importlib.import_module("named_here")
    assert recipe_id(recipe) == ids[1]
    write("named_here.py", "g = 3\n")
    with pytest.raises(UserError, match="the module `named_here` was edited after this process had imported it"):
        recipe_id(recipe)


def test_a_recipe_with_an_unimported_plugin_has_no_id(write: Write) -> None:
    write("r.yaml", BASE + "plugins: [some.module]")
    with pytest.raises(UserError, match=r"some.module.*no id"):
        recipe_id(load_recipe("r.yaml", run_plugins=False))


def test_the_id_depends_on_the_code_of_wrappers(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(write("wrapped_here.py", "ONE = 1\n").parent)
    ids: list[str] = []
    for path in ("wrapped_here:Mine", "wrapped_here:Mine", "gymnasium.wrappers:StickyAction", "not_there:Mine"):
        ids.append(recipe_id(load_recipe("cartpole_pixels", {"env.wrappers": [{"path": path}]})))
        if len(ids) == 1:
            write("wrapped_here.py", "ONE = 2\n")
    assert len(set(ids)) == 4

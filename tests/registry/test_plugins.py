"""Components from plug-ins: what they add, and what they cannot break."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from jepakit import registry
from jepakit.recipe import Problem, RecipeError, load_recipe, recipe_id
from jepakit.registry import load_builtins, table
from jepakit.registry.plugins import PluginWarning, load_entry_points
from jepakit.registry.signature import NameTaken
from jepakit.storage.folder import RunFolder

Write = Callable[[str, str], Path]

ENCODER = """\
from __future__ import annotations
from dataclasses import dataclass
from jepakit import register

@register("encoder", "{kind}")
class Mine:
    '''Mine.'''
    def __init__(self, frames, *, width: int = {width}):
        self.width = width
"""
TEXT = "env: {{kind: gym, id: CartPole-v1}}\nencoder: {{kind: {kind}}}\nplugins: {plugins}\n"


def encoder(kind: str = "mine", width: int = 3) -> str:
    return ENCODER.format(kind=kind, width=width)


def text(plugins: str, kind: str = "mine") -> str:
    return TEXT.format(kind=kind, plugins=plugins)


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    load_builtins()
    monkeypatch.setattr(table, "_table", dict(table._table))


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    def write(name: str, content: str) -> Path:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
        return Path(name)

    monkeypatch.chdir(tmp_path)
    return write


def problems(path: Path, *overrides: str) -> tuple[Problem, ...]:
    with pytest.raises(RecipeError) as error:
        load_recipe(path, overrides)
    return error.value.problems


def installed(monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    points = [metadata.EntryPoint(name, module, "jepakit.components") for name, module in modules.items()]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == "jepakit.components" else [])


def test_a_plugin_path_is_relative_to_the_recipe_that_names_it(write: Write) -> None:
    write("base/plugins/mine.py", encoder())
    write("base/base.yaml", text("[plugins/mine.py]"))
    write("deep/r.yaml", "extends: ../base/base.yaml")
    recipe = load_recipe("deep/r.yaml")
    assert registry.build("encoder", recipe.encoder, frames=None).width == 3
    assert registry.component("encoder", "mine").summary == "Mine."


def test_a_plugin_path_in_an_override_is_relative_to_the_current_folder(write: Write) -> None:
    write("mine.py", encoder(width=4))
    write("deep/r.yaml", text("[]"))
    assert load_recipe("deep/r.yaml", ["plugins=[./mine.py]"]).encoder.width == 4  # type: ignore[attr-defined]


def test_a_module_is_imported_by_name(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write("third_party/encoders.py", encoder())
    assert load_recipe(write("r.yaml", text("[third_party.encoders]"))).encoder.kind == "mine"


def test_naming_the_same_file_twice_is_no_clash(write: Write, tmp_path: Path) -> None:
    write("a.py", encoder())
    write("copy/b.py", encoder())
    (tmp_path / "link.py").symlink_to("a.py")
    assert load_recipe(write("r.yaml", text("[a.py, ./a.py, link.py, copy/b.py]"))).encoder.kind == "mine"
    assert load_recipe("r.yaml").encoder.kind == "mine"


def test_two_classes_with_one_name_are_an_error_that_names_both_places(write: Write) -> None:
    write("a.py", encoder())
    write("b.py", encoder(width=5))
    write("vit.py", encoder(kind="vit"))
    (problem,) = problems(write("r.yaml", text("[a.py, b.py]")))
    assert str(problem).startswith("r.yaml:3:17: ")
    assert "a.py:5" in problem.wrong
    assert "b.py:5" in problem.wrong
    (problem,) = problems(write("r.yaml", text("[vit.py]", kind="vit")))
    assert "vit.py:5" in problem.wrong
    assert "encoders/vit.py" in problem.wrong


def test_a_plugin_that_clashes_with_a_built_in_is_blamed_even_if_loaded_first(write: Write) -> None:
    write("vit.py", encoder(kind="vit"))
    code = "from jepakit.registry.plugins import load_plugins; print(*load_plugins(['./vit.py']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("vit.py:5: cannot register Mine as encoder `vit`")


def test_the_plugins_of_one_recipe_are_gone_for_the_next(write: Write) -> None:
    write("a.py", encoder())
    write("b.py", encoder(width=5))
    first = load_recipe(write("a.yaml", text("[a.py]")))
    second = load_recipe(write("b.yaml", text("[b.py]")))
    widths = [registry.build("encoder", recipe.encoder, frames=None).width for recipe in (first, second)]
    assert widths == [3, 5]
    (problem,) = problems(write("c.yaml", text("[]")))
    assert "unknown encoder `mine`" in problem.wrong


def test_an_edited_plugin_is_reloaded(write: Write) -> None:
    write("a.py", encoder())
    path = write("r.yaml", text("[a.py]"))
    load_recipe(path)
    write("a.py", encoder(width=5))
    assert load_recipe(path).encoder.width == 5  # type: ignore[attr-defined]


BROKEN = [
    ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name' ({}:11)"),
    ("raise SystemExit(3)", "SystemExit: 3 ({}:11)"),
    ("1 +", "SyntaxError: invalid syntax"),
    ("raise GeneratorExit", "GeneratorExit ({}:11)"),
    ("raise BaseException('of its own')", "BaseException: of its own ({}:11)"),
    ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded ({}:11)"),
    ("register([], 3)(Mine)", "TypeError: unhashable type: 'list' ({}:11)"),
    ("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})()", "<exception str() failed> ({}:11)"),
    ("import warnings; warnings.simplefilter('error'); warnings.warn('x')", "UserWarning: x ({}:11)"),
    ("raise ValueError('a\\nb\\x1b[31m')", "ValueError: a"),
    ("register('encoder', 'x')(type('T', (), {'requires': 3}))", "write `requires` as {{module: command}}"),
    (
        "@register('encoder', 'x')\nclass C:\n    def __init__(self, *, component: int = 3): ...",
        "the field name `component` is private or used by pydantic",
    ),
    (
        "from typing import Any\n@register('encoder', 'x')\nclass C:\n    def __init__(self, *, width: Any = object()): ...",
        "a recipe cannot write the default of the field `width`",
    ),
    ("@register('encoder', 'star')\nclass C:\n    def __init__(self, *args): ...", "cannot register C as encoder `star`: "),
]


@pytest.mark.parametrize(("line", "last"), BROKEN)
def test_a_broken_plugin_warns_and_harms_only_the_recipe_that_needs_it(write: Write, line: str, last: str) -> None:
    write("broken.py", encoder() + "\n" + line)
    expected = last.format(Path.cwd() / "broken.py")
    with pytest.warns(PluginWarning) as caught:
        assert load_recipe(write("r.yaml", text("[broken.py]", kind="vit"))).encoder.kind == "vit"
    assert expected in str(caught[0].message)
    with pytest.warns(PluginWarning):
        (problem,) = problems(write("r.yaml", text("[broken.py]")))
    assert "unknown encoder `mine`" in problem.wrong  # it was registered before the mistake, then unregistered
    assert "could not be imported" in problem.advice
    assert expected in problem.advice


@pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")
def test_a_file_out_of_a_package_is_told_to_name_its_module(write: Write) -> None:
    write("broken.py", "from .parts import Mine")
    with pytest.warns(PluginWarning, match=r"a file stands alone; name the module of its package, as `package\.parts`"):
        load_recipe(write("r.yaml", text("[broken.py]", kind="vit")))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("./nowhere.py", "No such file"),
        (".", "neither a file"),
        ("./", "Is a directory; name the module of the package that registers"),
        ("nowhere_at_all", "there is no module `nowhere_at_all`"),
        ("json.nowhere", "there is no module `json.nowhere`"),
        ("", "neither a file"),
        ('"a\\0.py"', "null byte"),
        ("~nobody_of_that_name/a.py", "No such file"),
        ("pipe.py", "a device or a pipe"),
        ("/dev/zero", "a device or a pipe"),
        ("sys", "cannot read the source of the module `sys`"),
        ("a_folder", "cannot read the source of the module `a_folder`"),
    ],
)
def test_a_missing_plugin_is_reported_at_its_place(write: Write, monkeypatch: pytest.MonkeyPatch, entry: str, says: str) -> None:
    os.mkfifo("pipe.py")
    Path("a_folder").mkdir()
    monkeypatch.syspath_prepend(".")
    quoted = entry if entry.startswith('"') else f'"{entry}"'
    (problem,) = problems(write("r.yaml", text(f"[{quoted}]", kind="vit")))
    assert str(problem).startswith("r.yaml:3:11: ")
    assert says in problem.wrong


def test_a_package_may_contain_folders_and_pipes_named_like_modules(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write("odd_package/__init__.py", encoder())
    (tmp_path / "odd_package" / "folder.py").mkdir()
    os.mkfifo(tmp_path / "odd_package" / "pipe.py")
    assert load_recipe(write("r.yaml", text("[odd_package]"))).encoder.kind == "mine"


FAILING = """\
from typing import Annotated, Any
from pydantic import AfterValidator
from jepakit import register
import sys

@register("encoder", "mine")
class Mine:
    __module__ = {module}
    def __init__(self, frames, *, width: Annotated[Any, AfterValidator({validator})] = None): ...
"""


@pytest.mark.parametrize(
    "validator", ["lambda value: {}[value]", "sys.exit", "lambda value: object()", "lambda value: 1 / 0", "lambda value: value * 2"]
)
def test_a_field_whose_validator_fails_is_reported_in_the_recipe(write: Write, validator: str) -> None:
    write("a.py", FAILING.format(validator=f"lambda value: None if value is None else ({validator})(value)", module="'a'"))
    (problem,) = problems(write("r.yaml", text("[a.py]", kind="mine, width: 3")))
    assert str(problem).startswith("r.yaml:2:10: `encoder`: the encoder `mine` cannot read these values: ")


def test_a_recipe_with_a_class_without_a_module_has_an_id(write: Write) -> None:
    write("a.py", FAILING.format(validator="lambda value: value", module="None"))
    for _ in range(2):
        recipe_id(load_recipe(write("r.yaml", text("[a.py]"))))


def test_a_recipe_loads_without_running_its_plugins(write: Write) -> None:
    write("a.py", "raise SystemExit('it ran')")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe = load_recipe(write("r.yaml", text("[a.py, some.module]", kind="vit")), run_plugins=False)
    assert [plugin.digest is None for plugin in recipe.loaded_plugins] == [False, True]


def test_installed_packages_register_by_entry_point(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write("installed_good.py", encoder(kind="good"))
    write("installed_broken.py", "import nothing_of_that_name")
    installed(monkeypatch, good="installed_good", broken="installed_broken")
    with pytest.warns(PluginWarning, match=r"broken = installed_broken.*nothing_of_that_name"):
        assert load_recipe(write("r.yaml", text("[]", kind="good"))).encoder.kind == "good"
    with pytest.warns(PluginWarning):
        (problem,) = problems(write("r.yaml", text("[]", kind="other")))
    assert "`broken` (ModuleNotFoundError" in problem.advice


def test_an_installed_package_with_a_taken_name_is_an_error(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write("installed_clash.py", encoder(kind="vit"))
    installed(monkeypatch, clash="installed_clash")
    with pytest.raises(NameTaken, match=r"installed_clash.py:5: .*encoders/vit.py"):
        load_entry_points()


def test_a_run_stores_the_plugin_source_that_it_loaded(write: Write, tmp_path: Path) -> None:
    write("a.py", encoder())
    recipe = load_recipe(write("r.yaml", text("[a.py]")))
    write("a.py", encoder(width=4))
    with contextlib.closing(RunFolder.create(tmp_path / "run")) as folder:
        folder.write_recipe(recipe)
    assert (tmp_path / "run" / "plugins" / "0" / "a.py").read_text() == encoder()
    assert recipe_id(load_recipe(tmp_path / "run" / "recipe.yaml")) == recipe_id(recipe)


def test_the_id_depends_on_the_whole_package_of_a_module(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write("whole_package/__init__.py", "")
    write("whole_package/layers.py", "DEPTH = 1\n")
    write("whole_package/parts.py", encoder() + "from whole_package import layers\n")
    recipe = write("r.yaml", text("[whole_package.parts]"))
    before = recipe_id(load_recipe(recipe))
    write("whole_package/layers.py", "DEPTH = 2\n")
    with pytest.raises(RecipeError, match="the module `whole_package` was edited after this process had imported it: start a new process"):
        load_recipe(recipe)
    for name in [name for name in sys.modules if name.partition(".")[0] == "whole_package"]:
        del sys.modules[name]
    assert recipe_id(load_recipe(recipe)) != before  # as in a new process


def test_the_id_distinguishes_one_from_true(write: Write) -> None:
    write("a.py", encoder().replace("width: int = 3", "width: int | bool = 1"))
    recipe = write("r.yaml", text("[a.py]"))
    ids = [recipe_id(load_recipe(recipe, [f"encoder.width={value}"])) for value in ("1", "true", "2")]
    assert len(set(ids)) == 3
    assert recipe_id(load_recipe(recipe)) == ids[0]


def test_a_file_beside_a_plugin_that_it_imports_is_no_part_of_a_run(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = write("mine.py", "import beside\nimport json, os.path\nfrom jepakit import register\n")
    monkeypatch.syspath_prepend(plugin.parent)
    write("beside.py", "")
    with pytest.warns(PluginWarning, match=r"imports `beside`, a file beside it: runs keep no copy of it.*name a package in `plugins:`"):
        load_recipe(write("r.yaml", TEXT.format(kind="vit", plugins="[mine.py]")))
    sys.modules.pop("beside", None)


def test_a_file_beside_a_plugin_that_python_does_not_find_is_told(write: Write, recwarn: pytest.WarningsRecorder) -> None:
    write("mine.py", "import out_of_reach\nfrom jepakit import register\n")
    write("out_of_reach.py", "")
    load_recipe(write("r.yaml", TEXT.format(kind="vit", plugins="[mine.py]")))
    (told,) = [str(warning.message) for warning in recwarn if issubclass(warning.category, PluginWarning)]
    assert "No module named 'out_of_reach': it lies beside the plug-in, where Python does not look; write both in one file" in told


def test_so_is_a_file_beside_a_module(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write("lone_module.py", "import beside_it\nfrom jepakit import register\n")
    write("beside_it.py", "")
    with pytest.warns(PluginWarning, match=r"the plug-in `lone_module` imports `beside_it`, a file beside it"):
        load_recipe(write("r.yaml", TEXT.format(kind="vit", plugins="[lone_module]")))
    for name in ("lone_module", "beside_it"):
        sys.modules.pop(name, None)

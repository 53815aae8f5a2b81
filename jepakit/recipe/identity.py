"""A run's id: a short hash of everything that decides its results, and of nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import json
import linecache
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from jepakit.errors import UserError
from jepakit.files.checkpoints import weights_file
from jepakit.files.data import digest_of_data
from jepakit.files.reading import read_bytes
from jepakit.recipe.schema import LeftOutAtDefault, Recipe, besides_results, holds_blocks
from jepakit.registry import Component
from jepakit.registry.plugins import GROUP, edited, importable_digest, imported_by, sources_of, unchanged
from jepakit.registry.signature import ComponentFields

MAX_BYTES = 8 * 1024**3  #: of one file of weights
LIBRARIES = ("gymnasium", "jepakit")  #: whose versions `provenance.json` has


def recipe_id(recipe: Recipe) -> str:
    """Ten hexadecimal digits: a hash of the resolved recipe with its seed, and of the contents of its plug-ins and files of weights.

    Raises:
        UserError: The source of a plug-in or of a component cannot be read.
    """
    decides = {"recipe": _deciding(recipe), "sources": source_digests(recipe)}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:10]


def source_digests(recipe: Recipe) -> list[str]:
    """SHA-256 digests of the files from outside jepakit that the recipe uses: code and weights.

    Raises:
        UserError: The source of a plug-in or of a component cannot be read.
    """
    return sorted(set(_sources(recipe)))


def _deciding(value: Any) -> Any:
    """A block's values as JSON, without defaults and without the fields marked `BesidesResults`.

    A later version of jepakit can thus add a field whose default keeps the old behaviour, and earlier runs keep their ids.
    """
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        names = fields.keys() - besides_results(type(value)) - _at_default(value)
        names -= _names_of_files(value) | names_of_data(value)  # a file's contents count, not its name
        blocks = {name: getattr(value, name) for name in names if holds_blocks(getattr(value, name))}
        chosen = {name for name in names if name not in blocks and (name == "kind" or _differ(getattr(value, name), fields[name].default))}
        decided = {name: _deciding(block) for name, block in blocks.items()}
        held = {name: contents for name in _names_of_files(value) for contents in _contents(getattr(value, name))}
        held |= {name: str(digest_of_data(Path(getattr(value, name)))) for name in names_of_data(value)}
        return value.model_dump(mode="json", include=chosen) | {name: decides for name, decides in decided.items() if decides} | held
    return [_deciding(entry) for entry in value]


def _at_default(value: BaseModel) -> set[str]:
    """The slots of a block that are marked `LeftOutAtDefault` and hold their default kind as it is."""
    marked = {name: field for name, field in type(value).model_fields.items() if LeftOutAtDefault() in field.metadata}
    return {name for name, field in marked.items() if _deciding(getattr(value, name)) == field.default}


def _differ(value: Any, default: Any) -> bool:
    """Whether a value differs from its default, as JSON would tell: 1 and true are equal in Python, also within a list."""
    return value != default or _with_kinds(value) != _with_kinds(default)


def _with_kinds(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return type(value), _with_kinds(value.model_dump())
    if isinstance(value, Mapping):
        return {name: _with_kinds(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_with_kinds(entry) for entry in value]
    return isinstance(value, bool), value


def _sources(recipe: Recipe) -> Iterator[str]:
    """Digests of the plug-ins, of files of weights, and of other source outside jepakit that defines a used component, env or wrapper.

    Of a component in a package, all of the package counts. What these files import of the user's own code counts, too, and what that code
    imports. A component's class lists fields that name code by import paths in ``imports``.
    """
    for plugin in recipe.loaded_plugins:
        if plugin.digest is None:
            raise UserError(f"the plug-in `{plugin.name}` was not imported, so the recipe has no id")
        yield plugin.digest
    own, covered = {plugin.file for plugin in recipe.loaded_plugins}, {_top(plugin.name) for plugin in recipe.loaded_plugins}
    classes: dict[str, list[type]] = {}  # by module or package, so that each is read once
    imported = {top for plugin in recipe.loaded_plugins for top in imported_by(plugin.content)}
    yield from weights_digests(recipe)
    for _, fields in _components(recipe):
        found = fields.component
        if str(found.cls.__module__).partition(".")[0] != "jepakit":
            is_plugin = Path(found.file) in own
            if not is_plugin:
                yield source_digest(found)
                imported.update(_imported_by(found.file))
            for module in _modules(found, covered, is_plugin):
                classes.setdefault(_top(module), []).append(found.cls)
        for name in getattr(found.cls, "imports", ()):
            for entry in getattr(fields, name) or ():
                yield from _importable(entry.path)
        if found.slot == "env":
            yield from _of_simulator(str(getattr(fields, "id", "")))
    for module, from_there in classes.items():
        yield from _importable(module, from_there)
    counted = classes.keys() | covered
    for module in _imported_along(imported | counted):
        if module not in counted:
            yield from _importable(module)


def _imported_along(modules: Set[str]) -> Iterator[str]:
    """Of packages and top-level modules those of the user's own code, and what these import of it, each once."""
    waiting, seen = sorted(modules), set(modules)
    while waiting:
        module = waiting.pop()
        places = _places(module)
        if _is_uninstalled(places) and not _is_folder_alone(module):
            yield module
            more = {top for file in sources_of(places) for top in _imported_by(str(file))} - seen
            waiting += sorted(more)
            seen |= more


def _is_folder_alone(module: str) -> bool:
    """Whether a module would be a folder without ``__init__.py`` that nobody has imported, such as one of data."""
    return module not in sys.modules and (spec := importlib.util.find_spec(module)) is not None and not spec.has_location


def _imported_by(file: str) -> list[str]:
    try:
        found = Path(file).stat()
        return _imports(file, found.st_mtime_ns, found.st_size)
    except OSError:
        return []  # a notebook's cell


@lru_cache(maxsize=4096)
def _imports(file: str, modified: int, size: int) -> list[str]:
    return imported_by(Path(file).read_bytes())


def _modules(found: Component, covered: Set[str], is_plugin: bool) -> Iterator[str]:
    """The modules that define a component's class and its bases: its own one, unless it ``is_plugin``'s, and those of the user's.

    Args:
        found: The component.
        covered: Packages that count already.
        is_plugin: Whether its own module is a plug-in file, which counts already.
    """
    for module in dict.fromkeys(str(cls.__module__) for cls in found.cls.__mro__):  # a class may have none
        is_its_own = module == str(found.cls.__module__)
        if _top(module) not in covered and (not is_plugin if is_its_own else _is_own(module)):
            yield module


def _of_simulator(id: str) -> Iterator[str]:
    """Digests of the user's own code that makes the Gymnasium env ``id``, or that has registered it, with or without a version."""
    if ":" in id:
        yield from _importable(id.partition(":")[0])
        return
    for module, made in makers(id):
        if _is_own(module):
            yield from _importable(module)
        elif module == "__main__" and isinstance(made, type):
            with contextlib.suppress(OSError, TypeError):  # its source is nowhere
                yield unchanged(_digest_of(made, getattr(sys.modules[module], "__file__", "")), [made], f"the source of the env `{id}`")


def makers(id: str) -> Iterator[tuple[str, Any]]:
    """What makes the envs that Gymnasium knows in this process as ``id``, with or without a version, each behind its module."""
    import gymnasium  # here, as commands that train nothing need it not

    for known, spec in gymnasium.registry.items():
        if id in (known, known.rpartition("-v")[0]) and (made := spec.entry_point):
            yield made if isinstance(made, str) else str(getattr(made, "__module__", "")), made


def _is_own(path: str) -> bool:
    """Whether an import path is of the user's own code: of no library, or of an installed package that offers components."""
    if not (places := _places(path)):
        return False
    return _is_uninstalled(places) or _top(path) in {_top(point.module) for point in metadata.entry_points(group=GROUP)}


def _is_uninstalled(places: Iterable[Path]) -> bool:
    """Whether code lies elsewhere than Python's own and what pip installs."""
    installed, library = {"site-packages", "dist-packages"}, sysconfig.get_path("stdlib")
    return any(not installed & {*place.parts} and not place.is_relative_to(library) for place in places)


def _places(path: str) -> list[Path]:
    """The folders of a package or the file of a module; none if it is of `LIBRARIES`, built into Python or not there."""
    top = _top(path)
    if top in sys.stdlib_module_names:
        return []
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if top in LIBRARIES or not spec or not (spec.has_location or spec.submodule_search_locations):  # such as builtins
        return []
    return [Path(place) for place in spec.submodule_search_locations or [spec.origin or ""]]


def _top(path: str) -> str:
    """The package of an import path such as ``package.module:Name``."""
    return path.partition(":")[0].partition(".")[0]


def _importable(path: str, classes: Collection[type] = ()) -> Iterator[str]:
    """The digest of the module or package that holds ``path``; nothing of a library whose version is on record."""
    if _top(path) not in LIBRARIES and (digest := importable_digest(path, classes)):
        yield digest


def files_read(recipe: Recipe) -> dict[str, Path]:
    """The files of weights that the recipe's components read, by the path of the field that names each (``jepa.target.checkpoint``).

    A field may name a folder, as `weights_file` says. A missing file is reported when the component is built.
    """
    found = {}
    for place, fields in _components(recipe):
        for name in _names_of_files(fields):
            if value := getattr(fields, name):
                found[f"{place}.{name}"] = weights_file(Path(value))
    return found


def weights_digests(recipe: Recipe) -> list[str]:
    """Those of `source_digests` that are of files of weights."""
    return sorted({digest for file in files_read(recipe).values() for digest in _contents(str(file))})


def _names_of_files(fields: BaseModel) -> set[str]:
    """The fields that name files of weights: the component's class and its slot's fields list them in ``reads``."""
    if not isinstance(fields, ComponentFields):
        return set()
    return {*getattr(fields.component.cls, "reads", ()), *getattr(fields, "reads", ())}


def data_read(recipe: Recipe) -> dict[str, Path]:
    """The folders of data that the recipe's components read, by the path of the field that names each (``source.folder``)."""
    return {f"{place}.{name}": Path(getattr(fields, name)) for place, fields in _components(recipe) for name in names_of_data(fields)}


def names_of_data(fields: BaseModel) -> set[str]:
    """The fields that name folders of data, which a run does not copy: the component's class lists them in ``data``."""
    return set(getattr(fields.component.cls, "data", ())) if isinstance(fields, ComponentFields) else set()


def _contents(path: str | None) -> Iterator[str]:
    """The digest of the file of weights that ``path`` means; nothing if there is none."""
    if path:
        with contextlib.suppress(OSError, ValueError):
            yield hashlib.sha256(read_bytes(weights_file(Path(path)), MAX_BYTES)).hexdigest()


def _components(value: Any, place: str = "") -> Iterator[tuple[str, ComponentFields]]:
    """The recipe's components that affect results, each with its path."""
    if isinstance(value, ComponentFields):
        yield place, value
    elif isinstance(value, BaseModel):
        besides = besides_results(type(value))
        for name in (name for name in type(value).model_fields if name not in besides):
            yield from _components(getattr(value, name), f"{place}.{name}".lstrip("."))
    elif isinstance(value, tuple):
        for index, entry in enumerate(value):
            yield from _components(entry, f"{place}.{index}")


def used_components(recipe: Recipe) -> list[Component]:
    """The components that the recipe chooses and that affect results."""
    return [fields.component for _, fields in _components(recipe)]


def source_digest(found: Component) -> str:
    """The digest of the file, or of the notebook's cells, that defines a component's class: `source_digests` holds it.

    Raises:
        UserError: There is no source, or it was edited since this process has read it.
    """
    try:
        digest = _digest_of(found.cls, found.file)
    except (OSError, TypeError) as error:
        raise UserError(f"the source of the {found.slot} `{found.kind}` cannot be read, so a run has no id: put it in a file") from error
    if found.digest not in ("", digest):
        raise edited(f"the source of the {found.slot} `{found.kind}`")
    return digest


def _digest_of(cls: type, file: str) -> str:
    """The digest of a class's file, or of a notebook's cells: its own, and those of its bases.

    Raises:
        OSError: There is no source.
    """
    if Path(file).is_file():
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    cells = (_cell(each) for each in cls.__mro__ if each.__module__ == cls.__module__)
    return hashlib.sha256("".join(cells).encode()).hexdigest()


def _cell(cls: type) -> str:
    """The source of a class that is in no file: where ``inspect`` does not find it, as in a notebook, the cell that defines its methods.

    Raises:
        OSError: It has no methods, or their source is gone.
    """
    with contextlib.suppress(OSError, TypeError):
        return inspect.getsource(cls)
    for method in vars(cls).values():
        code = getattr(inspect.unwrap(method), "__code__", None) if callable(method) else None
        if code and (lines := linecache.getlines(code.co_filename)):
            return "".join(lines)
    raise OSError(f"no source of {cls.__qualname__}")

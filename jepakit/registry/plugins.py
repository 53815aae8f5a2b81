"""Plug-ins: components from a recipe's files and modules, and from installed packages' entry points."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

from jepakit import registry
from jepakit.errors import UserError, shown, told
from jepakit.files.reading import Unreadable, read_bytes
from jepakit.registry.signature import NameTaken, RegistrationError

GROUP = "jepakit.components"
MAX_BYTES = 16 * 1024**2  #: of one source file
_TOGETHER = "write both in one file, or name a package in `plugins:`"
_OWN_FOLDER = str(Path(registry.__file__).parents[1])


class PluginWarning(UserWarning):
    """A plug-in could not be imported, or not all of its code belongs to the run. Only recipes that use it are affected."""


class NoSuchPlugin(UserError):
    """No file or module has this name."""


@dataclass(frozen=True)
class Plugin:
    """Code from outside jepakit that may register components."""

    name: str  #: its name in the recipe or package
    file: Path | None = None  #: the file, which a run copies into its folder; None for a module
    digest: str | None = None  #: SHA-256 of its source; None if it was not computed
    content: bytes = field(default=b"", repr=False)  #: the file's content when it was imported
    failure: str = ""  #: the last line of the traceback, if the import failed


def is_file(entry: str) -> bool:
    """Whether a recipe's entry names a file, not a module."""
    return entry.endswith(".py") or "/" in entry or "\\" in entry


def load_plugins(entries: list[str], run: bool = True) -> list[Plugin | NoSuchPlugin | NameTaken]:
    """Import a recipe's plug-ins. Components from the plug-in files of earlier recipes are unregistered.

    Args:
        entries: Paths of files, or names of modules.
        run: Whether to import them; otherwise files are only read.

    Returns:
        For each entry the plug-in, or the error that rules it out. A plug-in whose import fails is returned with a warning.
    """
    registry.load_builtins()  # first, so that a name clash is reported at the plug-in
    registry.forget(lambda module: str(module).startswith(registry.FILE_MODULE))
    found: list[Plugin | NoSuchPlugin | NameTaken] = []
    for entry in entries:
        try:
            found.append(_load_file(entry, run) if is_file(entry) else _load_module(entry, run))
        except (NoSuchPlugin, NameTaken) as error:
            found.append(error)
    return found


def installed_names() -> list[str]:
    """The entry-point names of installed packages that offer components. Nothing is imported."""
    return sorted(point.name for point in metadata.entry_points(group=GROUP))


def load_entry_points() -> list[Plugin]:
    """Import what installed packages offer under the entry-point group ``jepakit.components``.

    Raises:
        NameTaken: Two packages, or a package and jepakit, register different classes under one name.
    """
    registry.load_builtins()
    found = []
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        failure = _attempt(f"{point.name} = {point.value}", point.module, partial(importlib.import_module, point.module))
        found.append(Plugin(point.name, failure=failure))
    return found


def _load_file(entry: str, run: bool) -> Plugin:
    path = Path(entry)
    try:
        content = read_bytes(path, MAX_BYTES)
    except Unreadable as error:
        is_folder = isinstance(error.__cause__, IsADirectoryError)
        advice = "; name the module of the package that registers its components, as `package.parts`" if is_folder else ""
        raise NoSuchPlugin(f"cannot read the plug-in `{shown(entry, 300)}`: {error}{advice}") from error
    digest = hashlib.sha256(content).hexdigest()
    # The module's name is a hash of its content: a file reached by two paths, or copied into a run's folder, is one plug-in.
    name = f"{registry.FILE_MODULE}{digest[:12]}"
    beside = _imports_from_beside(path, content) if run else []
    failure = _attempt(entry, name, partial(_execute, name, path, content), beside) if run else ""
    if not failure:
        _warn_of_what_is_beside(entry, beside)
    return Plugin(entry, path, digest, content, failure)


def _warn_of_what_is_beside(entry: str, names: Iterable[str]) -> None:
    for beside in names:
        told = f"the plug-in `{shown(entry, 300)}` imports `{beside}`, a file beside it"
        warnings.warn(PluginWarning(f"{told}: runs keep no copy of it, and need it where and as it was; {_TOGETHER}"), stacklevel=4)


def _imports_from_beside(path: Path, content: bytes) -> list[str]:
    """The modules that a plug-in file imports and that lie in its own folder."""
    tops = imported_by(content)
    return [top for top in tops if (path.parent / f"{top}.py").is_file() or (path.parent / top / "__init__.py").is_file()]


def imported_by(source: bytes) -> list[str]:
    """The packages and top-level modules that Python ``source`` imports anywhere, without jepakit; none if it is no Python."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return []  # importing it says so
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return sorted({name.partition(".")[0] for name in names} - {"jepakit"})


def _execute(name: str, path: Path, content: bytes) -> None:
    is_known = name in sys.modules  # the same content once more: it registers the same envs
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    with warnings.catch_warnings() if is_known else contextlib.nullcontext():
        if is_known:
            warnings.filterwarnings("ignore", message=".*Overriding environment")
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)


def again(plugins: Iterable[Plugin]) -> None:
    """Import, in another process, the plug-ins that a recipe has imported; files from their content, which need not be there any more."""
    registry.load_builtins()
    for plugin in plugins:
        if plugin.failure:
            continue
        if plugin.file and plugin.digest:
            _execute(f"{registry.FILE_MODULE}{plugin.digest[:12]}", plugin.file, plugin.content)
        else:
            importlib.import_module(plugin.name)


def _load_module(entry: str, run: bool) -> Plugin:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", entry):
        raise NoSuchPlugin(f"the plug-in `{shown(entry)}` is neither a file (`./{shown(entry)}.py`) nor the name of a module")
    if not run:
        return Plugin(entry)

    def import_it() -> None:
        try:
            importlib.import_module(entry)
        except ModuleNotFoundError as error:
            if error.name and f"{entry}.".startswith(f"{error.name}."):
                name = shown(entry)
                raise NoSuchPlugin(f"there is no module `{name}`; a file is written with its path: `./{name}.py`") from error
            raise

    failure = _attempt(entry, entry, import_it)
    module = sys.modules.get(entry)
    source = getattr(module, "__file__", None)
    if not failure and source and "." not in entry and not hasattr(module, "__path__"):
        file = Path(source)
        if file.suffix == ".py" and file.is_file():
            _warn_of_what_is_beside(entry, _imports_from_beside(file, file.read_bytes()))
    return Plugin(entry, digest=None if failure else _digest(entry), failure=failure)


def _attempt(name: str, module: str, load: Callable[[], object], beside: Collection[str] = ()) -> str:
    """Import a plug-in, which imports what lies ``beside`` it. If that fails, unregister its components, warn, and say why in one line."""

    def within(other: str) -> bool:
        return f"{other}.".startswith(f"{module}.")

    filters = list(warnings.filters)
    try:
        load()
    except (NoSuchPlugin, NameTaken):
        registry.forget(within)
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        registry.forget(within)
        warnings.filters[:] = filters  # type: ignore[index]  # it may have turned warnings into errors
        failure = _failure(error, beside)
        warnings.warn(PluginWarning(f"the plug-in `{shown(name, 300)}` cannot be imported: {failure}"), stacklevel=3)
        return failure
    return ""


def _failure(error: BaseException, beside: Collection[str]) -> str:
    """The error and its place on one line."""
    if isinstance(error, ModuleNotFoundError) and error.name in beside:
        return f"{told(error)}: it lies beside the plug-in, where Python does not look; {_TOGETHER}"
    if isinstance(error, RegistrationError):
        return shown(str(error), 1_000)  # it already begins with the place
    if isinstance(error, ImportError) and "relative import" in str(error):
        return f"{told(error)}: a file stands alone; name the module of its package, as `package.parts`, in `plugins:`"
    if isinstance(error, SyntaxError) and error.filename:
        line = f": `{shown(error.text.strip())}`" if error.text else ""
        return f"{told(error)} ({shown(error.filename, 300)}:{error.lineno}){line}"
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if not frame.filename.startswith(_OWN_FOLDER)), frames[-1])
    return f"{told(error)} ({shown(frame.filename, 300)}:{frame.lineno})"


def _digest(entry: str) -> str:
    """The digest of an imported module for a run's id: it covers the module's whole package."""
    try:
        top = entry.partition(".")[0]
        own = [found for found in registry.components() if found.cls.__module__.partition(".")[0] == top and Path(found.file).is_file()]
        if any(hashlib.sha256(Path(found.file).read_bytes()).hexdigest() != found.digest for found in own):
            raise edited(f"the module `{top}`")
        return unchanged(module_digest(sys.modules[top]), [found.cls for found in own], f"the module `{top}`")
    except (OSError, KeyError, AttributeError, TypeError, ValueError) as error:  # a C extension, or a module that removed itself
        raise NoSuchPlugin(f"cannot read the source of the module `{entry}`, so a run that uses it would have no id") from error


_importable: dict[str, str] = {}  #: by module, its digest before its import, or when it was first asked for after it
#: By class, the digest of each source that it comes from, as it was when it was first asked for.
_digests: WeakKeyDictionary[type, dict[str, str]] = WeakKeyDictionary()


def unchanged(digest: str, classes: Iterable[type], what: str) -> str:
    """The ``digest`` of the source from which ``classes`` were imported.

    Raises:
        NoSuchPlugin: The source was edited since: this process still has the old code, and a run of it would get the id of the new one.
    """
    for cls in classes:
        if _digests.setdefault(cls, {}).setdefault(what, digest) != digest:
            raise edited(what)
    return digest


def edited(what: str) -> NoSuchPlugin:
    """The error of code that was edited after its import, for the caller to raise."""
    return NoSuchPlugin(f"{what} was edited after this process had imported it: start a new process")


def module_digest(module: ModuleType) -> str:
    """SHA-256 of a module's source file, or of all source files of a package."""
    return _source_digest(getattr(module, "__path__", []), module.__file__ or "")


def importable_digest(path: str, classes: Collection[type] = ()) -> str | None:
    """The `module_digest` of the module or package that holds ``path``, without importing it; None if there is no source.

    Args:
        path: An import path.
        classes: Those known that come from there.

    Raises:
        NoSuchPlugin: It was edited after its import, or after a class was made.
    """
    top = path.partition(":")[0].partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
        digest = _source_digest(spec.submodule_search_locations or [], spec.origin or "") if spec else None
    except (ImportError, ValueError, OSError):
        return None
    if digest and classes:
        return unchanged(digest, classes, f"the module `{top}`")
    if digest:
        if top in sys.modules and _importable.get(top, digest) != digest:
            raise edited(f"the module `{top}`")
        _importable[top] = digest
    return digest


def _source_digest(folders_of_package: Iterable[str], file_of_module: str) -> str:
    folders = dict.fromkeys(Path(folder) for folder in folders_of_package)
    files = [(file.relative_to(folder).as_posix(), file) for folder in folders for file in _sources_below(folder)]
    if not files:
        return hashlib.sha256(Path(file_of_module).read_bytes()).hexdigest()
    parts = [f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for name, file in sorted(files)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _sources_below(folder: Path) -> Iterator[Path]:
    """The Python files of a package, without those of the runs, sweeps' jobs and virtual environments that lie in it."""
    for below, folders, files in os.walk(folder):
        is_run = "recipe.yaml" in files and ("events.jsonl" in files or Path(below).parent.name == "jobs")  # as a sweep calls them
        if is_run or "pyvenv.cfg" in files:
            folders.clear()
            continue
        yield from (file for name in files if name.endswith(".py") and (file := Path(below, name)).is_file())


def sources_of(places: Iterable[Path]) -> Iterator[Path]:
    """The Python files of a package's folders, or of a module's file."""
    for place in places:
        yield from _sources_below(place) if place.is_dir() else [place]

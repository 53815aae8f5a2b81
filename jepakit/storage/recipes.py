"""Recipes of run folders as plain data. What was once read of a text is kept in the user's cache, because reading YAML takes milliseconds.

The cache is keyed by the text itself, not by a file's name, time or size. So it can lack a recipe, but it cannot hold an outdated one:
neither a copied folder nor a clock that goes backwards nor another process can make it wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Any

from jepakit.files.reading import read_text
from jepakit.recipe.errors import Problem, Source
from jepakit.recipe.yaml12 import read_yaml
from jepakit.version import __version__

NAME = "recipes.json"
MOST = 5000  #: texts that are kept beside those of the newest reading
MAX_BYTES = 64 * 1024**2  #: of the cache's file; a larger one is ignored
_SEED = re.compile(r"^seed: (0|[1-9][0-9]{0,17})$", re.MULTILINE)


class Recipes:
    """Reads recipes, each text once. Runs that differ only in their seed count as one text.

    Args:
        folder: Where to keep what was read, for later processes; None for the user's cache. A folder that is missing, not writable, or not
            this user's own is no error: then every text is read anew.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or _cache()
        self.path = folder / NAME if folder else None
        self.known: dict[str, dict[str, Any]] = _load(self.path)
        self._used: set[str] = set()
        self._is_new = False

    def read(self, source: Source, problems: list[Problem]) -> Any:
        """A recipe's content as plain data; None if nothing can be read.

        Args:
            source: The text.
            problems: Receives the mistakes found. A text with mistakes is not kept.
        """
        seeds = _SEED.findall(source.text)
        if len(seeds) == 1:
            key = _key("\0" + _SEED.sub("seed:", source.text))  # no YAML begins like that
            if (shared := self._get(key) or self._keep(key, _read_with_any_seed(source))) is not None:
                return shared | {"seed": int(seeds[0])}
        key = _key(source.text)
        if (known := self._get(key)) is not None:
            return known
        found: list[Problem] = []
        node = read_yaml(source, found)
        problems += found
        plain = node.plain() if node else None
        if isinstance(plain, dict) and not found:
            self._keep(key, plain)
        return plain

    def save(self) -> None:
        """Keep what was read, if any of it is new. Of processes that save at the same time, the last one wins."""
        if not self._is_new or self.path is None:
            return
        kept = self._used.union([key for key in self.known if key not in self._used][-MOST:])
        recipes = {key: plain for key, plain in self.known.items() if key in kept}
        content = json.dumps({"jepakit": __version__, "recipes": recipes}, separators=(",", ":"))
        partial = ""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix=f".{NAME}.", dir=self.path.parent, delete=False) as file:
                partial = file.name
                file.write(content)
            Path(partial).replace(self.path)
        except OSError:
            if partial:
                Path(partial).unlink(missing_ok=True)
        self._is_new = False

    def _get(self, key: str) -> dict[str, Any] | None:
        self._used.add(key)
        return self.known.get(key)

    def _keep(self, key: str, plain: dict[str, Any] | None) -> dict[str, Any] | None:
        if plain is not None:
            self.known[key] = plain
            self._is_new = True
        return plain


def _cache() -> Path | None:
    """This user's folder for what can be made anew; None for a user without a home."""
    for folder in (Path(os.environ.get("XDG_CACHE_HOME", "")), Path(os.path.expanduser("~/.cache"))):  # noqa: PTH111
        if folder.is_absolute():
            return folder / "jepakit"
    return None


def _load(path: Path | None) -> dict[str, dict[str, Any]]:
    """What an earlier process kept; empty if that is missing, damaged, another version's or another user's."""
    try:
        if path is None or path.stat().st_uid != os.geteuid():
            return {}
        content = json.loads(read_text(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    recipes = content.get("recipes") if isinstance(content, dict) and content.get("jepakit") == __version__ else None
    return {key: plain for key, plain in recipes.items() if isinstance(plain, dict)} if isinstance(recipes, dict) else {}


def _read_with_any_seed(source: Source) -> dict[str, Any] | None:
    """The content with a null seed; None if it holds the seed elsewhere, too, or has mistakes.

    The line could be a part of some other text. So the seed is replaced by a random number, which must then be the recipe's seed.
    """
    number = 10**17 + secrets.randbelow(9 * 10**17)
    problems: list[Problem] = []
    node = read_yaml(Source(source.name, _SEED.sub(f"seed: {number}", source.text), source.folder), problems)
    plain = node.plain() if node else None
    if problems or not isinstance(plain, dict) or plain.get("seed") != number or json.dumps(plain).count(str(number)) != 1:
        return None
    return plain | {"seed": None}


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

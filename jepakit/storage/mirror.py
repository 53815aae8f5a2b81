"""Mirrors a run's records to sinks: reads what the run has written, and hands it on.

``metrics.jsonl`` and ``events.jsonl`` are the truth. Each sink has a thread that looks at them once a second. So nothing in the training
loop knows about sinks, none of them can slow it, and one that lags loses nothing. A run, a resumed run and `export_logs` use the same code.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import Any

from jepakit import registry
from jepakit.errors import UserError, shown, told
from jepakit.files.reading import read_text
from jepakit.files.writing import write_atomically
from jepakit.protocols import MirroredRun, ShowsMedia, Sink
from jepakit.recipe.load import draft_recipe
from jepakit.registry.signature import ComponentFields
from jepakit.storage.folder import read_provenance, read_summary
from jepakit.storage.lock import Lock

FOLDER = "sinks"  #: in a run's folder: a file a kind on how far it is, and what the tools keep there
INTERVAL = 1.0  #: seconds between two looks
PATIENCE = 30.0  #: seconds that a run waits at its end for all its sinks together
VERDICTS = ("collapsed", "recovered")  #: the events that sinks receive
MEDIA = (".png", ".jpg", ".jpeg", ".gif", ".mp4")  #: files that sinks may show
NO_NUMBERS = ("phase", "env_steps")  #: fields of a record that are no metrics


class Mirrors:
    """The sinks of a run, each in a thread of its own. A sink that fails warns once; the run goes on.

    Args:
        sinks: The recipe's.
        run: The run's folder.
        warn: Shows a warning.
    """

    def __init__(self, sinks: Sequence[ComponentFields], run: Path, warn: Callable[[str], object]) -> None:
        self.mirrors = [Mirror(config, run) for config in sinks]
        self.warn = warn
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin; from now on the run only appends to its records."""
        self.threads = [threading.Thread(target=self._follow, args=[mirror], daemon=True) for mirror in self.mirrors]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Let each sink take what is left, for at most `PATIENCE` seconds. The run has written its summary, if it ends as it should."""
        for mirror in self.mirrors:
            mirror.closing.set()
        until = time.monotonic() + PATIENCE
        try:
            for thread in self.threads:
                thread.join(max(0.0, until - time.monotonic()))
        except KeyboardInterrupt:
            pass  # the run is complete on the disk: do not wait
        for mirror, thread in zip(self.mirrors, self.threads, strict=False):  # no threads, if the run has not begun
            if thread.is_alive():
                mirror.abandoned = True
                self.warn(f"the sink `{mirror.kind}` lags behind and was left; {mirror.advice}")

    def _follow(self, mirror: Mirror) -> None:
        try:
            mirror.follow()
        except (Exception, SystemExit) as error:
            self.warn(f"the sink `{mirror.kind}` has failed and gets no more records; the run goes on: {told(error)}; {mirror.advice}")


class Mirror:
    """Hands a run's records to one sink.

    A file beside the sink's own says up to which env steps the sink has all records, and how another process continues the tool's run.

    Args:
        config: The sink's fields.
        run: The run's folder.
    """

    def __init__(self, config: ComponentFields, run: Path) -> None:
        self.config = config
        self.kind = config.kind
        self.run = run
        self.note = run / FOLDER / f"{config.kind}.json"
        self.closing = threading.Event()  #: set once all records are written
        self.abandoned = False
        self.advice = f"`jepakit export-logs {quote(str(run))} --to {config.kind}` writes the rest"

    def follow(self, media: Sequence[Path] = ()) -> None:
        """Hand on all records, and those that the run still writes, until `closing` is set; then the files ``media``.

        Raises:
            Exception: Whatever the sink raises, or what reading the run's files does.
        """
        sink: Sink = registry.build("sink", self.config, folder=self.note.parent)
        _own(self.note.parent)
        fields = self.config.model_dump(mode="json")
        noted = _noted(self.note, fields)
        run = MirroredRun(str(read_provenance(self.run).get("id", self.run.name)), self.run.name, {}, noted["env_steps"], noted["state"])
        recipe = draft_recipe(self.run / "recipe.yaml", run_plugins=False).tree.plain()
        run = run._replace(name=str(recipe.get("name", run.name)), recipe=recipe)
        held, judged = sink.begin(run), int(noted["judged"])
        started = _started(self.run)
        metrics, events = Tail(self.run / "metrics.jsonl"), Tail(self.run / "events.jsonl")
        batch: list[dict[str, Any]] = []
        while not self.abandoned:
            last = self.closing.is_set()  # asked before reading: what is written before it was set is read below
            before = metrics.offset, events.offset
            for record in metrics.read():
                batch.append(record)
                if self.abandoned:
                    break
                if record["phase"] == "train":  # ends a batch: its episodes come before it
                    for each in batch:
                        if each["env_steps"] > held:
                            sink.metrics(_numbers(each), each["env_steps"], started + each["wall_s"])
                    held, batch = max(held, record["env_steps"]), []
            for record in events.read():
                if record["event"] in VERDICTS and record["env_steps"] > judged:
                    sink.event(record)
                    judged = record["env_steps"]
            if last or before != (metrics.offset, events.offset):
                note = {"fields": fields, "env_steps": held, "judged": judged, "state": sink.flush()}
                write_atomically(self.note, json.dumps(note) + "\n")
            if last:
                for file in media:
                    assert isinstance(sink, ShowsMedia)  # `export_logs` has checked it
                    sink.media(file.stem, file, held)
                sink.end(read_summary(self.run))
                return
            self.closing.wait(INTERVAL)


class Tail:
    """Reads a file of JSON lines as it grows.

    Args:
        path: The file.
        holding: Text that a line must hold; all others are skipped, unread.
    """

    def __init__(self, path: Path, holding: bytes = b"") -> None:
        self.path = path
        self.holding = holding
        self.offset = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """The records that are complete and new; none while there is no file."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written
                self.offset += len(line)
                if self.holding in line:
                    yield json.loads(line)


def export_logs(run: Path, sinks: Sequence[ComponentFields], media: Sequence[Path] = ()) -> None:
    """Mirror the records of the run in folder ``run``, which no process may be writing, to sinks; what they hold already stays as it is.

    Args:
        run: The run's folder.
        sinks: The sinks.
        media: Pictures and videos to show with the run, each under its file's name.

    Raises:
        UserError: The folder cannot be written, a process is writing it, a sink fails, or it shows no media or not those.
    """
    if not (run / "recipe.yaml").is_file() or not (run / "metrics.jsonl").is_file():
        raise UserError(f"{run} is not a run's folder: it has no recipe.yaml or no metrics.jsonl")
    for file in media:
        if file.suffix.lower() not in MEDIA or not file.is_file():
            raise UserError(f"{file} is no picture or video: name files that end in {', '.join(MEDIA)}")
    for config in sinks if media else ():
        if not hasattr(config.component.cls, "media"):
            raise UserError(f"the sink `{config.kind}` shows no pictures and no videos")
    try:
        lock = Lock(run)
    except OSError as error:
        raise UserError(f"can't write to {run}: {error.strerror}") from None
    try:
        for config in sinks:
            mirror = Mirror(config, run)
            mirror.closing.set()
            try:
                mirror.follow(media)
            except UserError:
                raise
            except (Exception, SystemExit) as error:
                raise UserError(f"the sink `{config.kind}` has failed: {told(error)}") from error
    finally:
        lock.release()


def _own(folder: Path) -> None:
    """Create the folder, and refuse one in a run from somebody else that leads elsewhere.

    Raises:
        UserError: It or something in it is a link, or it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
        links = [path for path in (folder, *folder.iterdir()) if path.is_symlink()]
    except OSError as error:
        raise UserError(f"can't write to {folder}: {error.strerror}") from None
    if links:
        raise UserError(f"{shown(str(links[0]), 300)} is a link: a sink would write to what is behind it")


def _noted(note: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is noted of this sink; of another one, with other fields, or of none: nothing."""
    try:
        found = dict(json.loads(read_text(note)))
        if found["fields"] == fields and isinstance(found["state"], dict):
            return {"env_steps": int(found["env_steps"]), "judged": int(found["judged"]), "state": found["state"]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass
    return {"env_steps": 0, "judged": 0, "state": {}}


def _started(run: Path) -> float:
    """When the run began, in seconds since 1970: the records count theirs from there."""
    first = next(Tail(run / "events.jsonl").read(), None)
    return datetime.fromisoformat(first["time"]).timestamp() - first["wall_s"] if first else time.time()


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """A record's metrics: no text, no null."""
    return {name: value for name, value in record.items() if name not in NO_NUMBERS and isinstance(value, (int, float))}

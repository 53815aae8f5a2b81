"""The sink kind ``csv``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchrl.record.loggers.csv import CSVLogger

from jepakit.files.writing import write_atomically
from jepakit.protocols import MirroredRun
from jepakit.registry import register


@register("sink", "csv")
class Csv:
    """One file a metric, lines of env steps and value: ``sinks/csv/scalars/loss/jepa.csv`` in the run's folder.

    The files are those of TorchRL's ``CSVLogger``. ``texts/`` holds the recipe and the verdicts on the embedding. The logger only appends,
    so a resumed run first cuts off the lines that come again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "csv"

    def begin(self, run: MirroredRun) -> int:
        """Open the files, cut back to ``run.held``."""
        files = sorted((self.path / "scalars").rglob("*.csv"))
        held = run.held if files else 0
        for file in files:
            if file.is_symlink():
                raise ValueError(f"{file} is a link: it is not written through")
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and int(line.partition(",")[0]) <= held]
            if len(kept) < len(lines):
                write_atomically(file, "".join(kept))
        self.logger = CSVLogger("csv", str(self.folder))
        (self.path / "texts" / "recipe.json").write_text(json.dumps({"id": run.id, **run.recipe}, indent=2) + "\n", encoding="utf-8")
        return held

    def metrics(self, record: Mapping[str, float], env_steps: int, time: float) -> None:
        """Append one line a metric."""
        for name, value in record.items():
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise ValueError(f"the metric `{name}` cannot name a file")
            self.logger.log_scalar(name, value, step=env_steps)

    def event(self, record: Mapping[str, Any]) -> None:
        """Write ``texts/collapsed_<env steps>.json``."""
        text = json.dumps(dict(record), indent=2) + "\n"
        (self.path / "texts" / f"{record['event']}_{record['env_steps']}.json").write_text(text, encoding="utf-8")

    def flush(self) -> dict[str, Any]:
        """Nothing: the logger flushes each line."""
        return {}

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Close the files."""
        for file in self.logger.experiment.files.values():
            file.close()

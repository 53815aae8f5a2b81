"""The sink kind ``wandb``."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from jepakit.protocols import MirroredRun
from jepakit.registry import register

TRAIN = "updates"  #: a metric that only, and every, record of a batch has


@register("sink", "wandb")
class WandB:
    """A run of Weights & Biases: one row of its history for each record, against ``env_steps``.

    By default it is kept in ``sinks/wandb`` of the run's folder and needs neither an account nor a network: ``wandb sync
    RUN/sinks/wandb/offline-run-*`` uploads it later, a resumed run's folders as one run. W&B writes about every 15 seconds. What it has not
    written when a process is killed is written when the run resumes. Console output, code, git state and system metrics stay out.

    TorchRL's ``WandbLogger`` switches the whole process to offline, and its rows have one more column for each group of metrics, so this
    uses ``wandb`` itself. Reading back uses ``wandb leet inspect`` offline, and W&B's API online.

    Args:
        project: W&B's project.
        entity: W&B's user or team; null: the account's own.
        mode: ``online`` needs ``wandb login`` before.
    """

    requires: ClassVar[dict[str, str]] = {"wandb": "pip install 'jepakit[wandb]'"}

    def __init__(
        self, folder: Path, *, project: str = "jepakit", entity: str | None = None, mode: Literal["offline", "online"] = "offline"
    ) -> None:
        self.folder = folder
        self.project = project
        self.entity = entity
        self.mode = mode

    def begin(self, run: MirroredRun) -> int:
        """Continue the run of ``run.state``, or create one; what it holds is read back from it."""
        import wandb

        self.id = str(run.state.get("id") or secrets.token_hex(8))
        (self.folder / "wandb").mkdir(parents=True, exist_ok=True)  # else W&B would write to the machine's temporary folder
        rows = list(self._offline_rows()) if self.mode == "offline" else []
        quiet = wandb.Settings(console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True)
        self.run: Any = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            id=self.id,
            name=f"{run.name}/{run.id}",
            group=run.name,
            config={"id": run.id, **run.recipe},
            dir=str(self.folder),
            resume="allow",
            reinit="create_new",  # beside a run that the same process may have open
            settings=quiet,
        )
        self.run.define_metric("env_steps")
        self.run.define_metric("*", step_metric="env_steps")
        if self.mode == "online" and self.run.resumed:
            rows = list(wandb.Api().run(self.run.path).scan_history())
        rows = [row for row in rows if "env_steps" in row]
        self.rows = len(rows)
        held = max((int(row["env_steps"]) for row in rows if row.get(TRAIN) is not None), default=0)
        self.held = Counter(int(row["env_steps"]) for row in rows if row["env_steps"] > held)  #: rows of a batch that it holds in part
        return held

    def _offline_rows(self) -> Iterable[dict[str, Any]]:
        for file in sorted((self.folder / "wandb").glob(f"offline-run-*-{self.id}/*.wandb")):
            command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
            quietly = os.environ | {"WANDB_ERROR_REPORTING": "false"}
            lines = subprocess.run(command, capture_output=True, text=True, check=True, env=quietly).stdout.splitlines()
            yield from (record["history"]["item"] for record in map(json.loads, lines) if record.get("type") == "history")

    def metrics(self, record: Mapping[str, float], env_steps: int, time: float) -> None:
        """Log one row."""
        if self.held[env_steps] > 0:
            self.held[env_steps] -= 1
            return
        self.run.log({"env_steps": env_steps, **record}, step=self.rows)
        self.rows += 1

    def event(self, record: Mapping[str, Any]) -> None:
        """Set ``collapsed_at`` or ``recovered_at`` in the run's summary."""
        self.run.summary[f"{record['event']}_at"] = record["env_steps"]

    def media(self, name: str, file: Path, env_steps: int) -> None:
        """Log a row with a picture or a video."""
        import wandb

        kind = file.suffix.lower().removeprefix(".")
        shown = wandb.Video(str(file), format=kind) if kind in ("gif", "mp4") else wandb.Image(str(file))
        self.run.log({"env_steps": env_steps, name: shown}, step=self.rows)
        self.rows += 1

    def flush(self) -> dict[str, Any]:
        """The run's id; W&B writes when it likes."""
        return {"id": self.id}

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Add the run's summary, and finish."""
        self.run.summary.update({name: value for name, value in (summary or {}).items() if value is not None})
        self.run.finish(exit_code=0 if summary and summary["status"] != "failed" else 1)

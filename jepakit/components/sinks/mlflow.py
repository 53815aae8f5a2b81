"""The sink kind ``mlflow``."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from jepakit.components.sinks.flat import flattened
from jepakit.protocols import MirroredRun
from jepakit.registry import register

LONGEST = 6000  #: characters of a parameter's value
PARAMETERS = 100  #: in one call
ENDS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}  #: any other end: KILLED


@register("sink", "mlflow")
class MLflow:
    """A run of MLflow, in a folder or on a server.

    The recipe's values are its parameters, verdicts on the embedding its tags. Without ``tracking_uri``, the variable
    ``MLFLOW_TRACKING_URI`` says where it is kept; without that, the folder ``mlruns`` of the current folder. MLflow 3 opens a folder only
    where ``MLFLOW_ALLOW_FILE_STORE=true``, which this sink sets for its own process; ``mlflow ui`` needs it too. A database
    (``sqlite:///mlflow.db``) needs the whole package ``mlflow`` rather than ``mlflow-skinny``.

    MLflow's telemetry is off unless ``MLFLOW_DISABLE_TELEMETRY=false``.

    TorchRL's ``MLFlowLogger`` starts a new run each time and moves the process's active run and experiment, which may be the user's, so
    this uses MLflow's own client.

    Args:
        tracking_uri: A folder, or the address of a server or database. Null: see above.
        experiment: Name of the experiment; made if missing.
    """

    requires: ClassVar[dict[str, str]] = {"mlflow": "pip install 'jepakit[mlflow]'"}

    def __init__(self, folder: Path, *, tracking_uri: str | None = None, experiment: str = "jepakit") -> None:
        self.tracking_uri = tracking_uri
        self.experiment = experiment

    def begin(self, run: MirroredRun) -> int:
        """Continue the run of ``run.state``, or create one."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at the import; its thread draws from Python's global generator
        from mlflow.entities import Param, RunTag
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
        from mlflow.utils import name_utils

        name_utils.random = secrets.SystemRandom()  # in place of Python's global generator, for an id with leading zeros
        self.uri = run.state.get("tracking_uri") if self.tracking_uri is None else None
        self.uri = self.uri or self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "mlruns"
        local = self.uri.removeprefix("file://").removeprefix("file:") if self.uri.startswith("file:") or "://" not in self.uri else None
        local = None if self.uri.startswith("databricks") else local
        if local is not None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            self.uri = Path(local).absolute().as_uri()
        self.client: Any = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri if local is not None else None)
        self.held: Counter[tuple[str, int]] = Counter()  #: metrics beyond those that `begin` says it holds
        try:
            found = self.client.get_run(run.state["run_id"])
        except (KeyError, MlflowException):
            tags = [RunTag("mlflow.runName", f"{run.name}/{run.id}"), RunTag("jepakit.id", run.id)]
            experiment = self._experiment_id(Path(local) if local is not None else None)
            self.run_id = self.client.create_run(experiment, tags={tag.key: tag.value for tag in tags}).info.run_id
            parameters = [Param(name, str(value)[:LONGEST]) for name, value in flattened(run.recipe)]
            for first in range(0, len(parameters), PARAMETERS):
                self.client.log_batch(self.run_id, params=parameters[first : first + PARAMETERS])
            return 0
        self.run_id = found.info.run_id
        self.client.update_run(self.run_id, status="RUNNING")
        for name in found.data.metrics:
            steps = (metric.step for metric in self.client.get_metric_history(self.run_id, name))
            self.held.update((name, step) for step in steps if step > run.held)
        return run.held

    def _experiment_id(self, local: Path | None) -> str:
        if local is None:
            return self._found_or_made()
        local.mkdir(parents=True, exist_ok=True)
        with (local / ".jepakit.lock").open("w") as lock:  # two runs at once would make two experiments of the same name
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._found_or_made()

    def _found_or_made(self) -> str:
        found = self.client.get_experiment_by_name(self.experiment)
        return str(found.experiment_id if found else self.client.create_experiment(self.experiment))

    def metrics(self, record: Mapping[str, float], env_steps: int, time: float) -> None:
        """Log one metric for each that the run does not hold."""
        from mlflow.entities import Metric

        new = []
        for name, value in record.items():
            if self.held[name, env_steps] > 0:
                self.held[name, env_steps] -= 1
            else:
                new.append(Metric(name, float(value), round(time * 1000), env_steps))
        self.client.log_batch(self.run_id, metrics=new)

    def event(self, record: Mapping[str, Any]) -> None:
        """Set the tag ``jepakit.collapsed`` or ``jepakit.recovered`` to its env steps."""
        self.client.set_tag(self.run_id, f"jepakit.{record['event']}", f"{record['env_steps']} env steps")

    def media(self, name: str, file: Path, env_steps: int) -> None:
        """Keep the file as an artifact in ``media``, where MLflow shows it."""
        self.client.log_artifact(self.run_id, str(file), "media")

    def flush(self) -> dict[str, Any]:
        """The run's id and where it is kept; every call has already reached the store."""
        return {"tracking_uri": self.uri, "run_id": self.run_id}

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Set the run's status."""
        self.client.set_terminated(self.run_id, ENDS.get(summary["status"] if summary else "", "KILLED"))

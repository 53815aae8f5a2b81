"""The sink kind ``tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from jepakit.components.sinks.flat import flattened
from jepakit.protocols import MirroredRun
from jepakit.registry import register

HEADLINES = ("return_last_100", "embedding/rank")  #: metrics beside the hyper-parameters in the tab HPARAMS


@register("sink", "tensorboard")
class TensorBoard:
    """TensorBoard's event files in ``sinks/tensorboard`` of the run's folder: ``tensorboard --logdir runs`` shows all runs.

    The recipe stands in the tab HPARAMS, verdicts on the embedding under TEXT. TensorBoard keeps values in single precision. Of several
    episodes that end at the same env step its charts may show only the last; the files hold all.

    TorchRL's ``TensorboardLogger`` cannot say at which step a resumed run continues, so this uses PyTorch's ``SummaryWriter``, whose
    ``purge_step`` can. The writer's ``add_hparams`` would make a second run, so the same records are written to this one.
    """

    requires: ClassVar[dict[str, str]] = {"tensorboard": "pip install 'jepakit[tensorboard]'"}

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tensorboard"

    def begin(self, run: MirroredRun) -> int:
        """Open a new event file; what older ones hold after ``run.held`` is purged."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        there = any(self.path.glob("events.out.tfevents.*"))
        held = run.held if there else 0
        self.writer: Any = SummaryWriter(str(self.path), purge_step=held + 1 if there else None)
        values = {name: value if isinstance(value, (bool, int, float, str)) else str(value) for name, value in flattened(run.recipe)}
        *begins, self.session_end = hparams({"id": run.id, **values}, dict.fromkeys(HEADLINES, 0.0))
        for summary in begins if not held else ():
            self._add(summary)
        return held

    def _add(self, summary: Any) -> None:
        self.writer.file_writer.add_summary(summary)

    def metrics(self, record: Mapping[str, float], env_steps: int, time: float) -> None:
        """Add one scalar a metric."""
        for name, value in record.items():
            self.writer.add_scalar(name, value, env_steps, walltime=time)

    def event(self, record: Mapping[str, Any]) -> None:
        """Add a text."""
        figures = ", ".join(f"{name} {value}" for name, value in record.items() if name not in ("event", "time", "wall_s"))
        self.writer.add_text("events", f"{record['event']}: {figures}", record["env_steps"])

    def media(self, name: str, file: Path, env_steps: int) -> None:
        """Add a picture, or a GIF, which TensorBoard plays.

        Raises:
            ValueError: It is an MP4.
        """
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        if file.suffix.lower() == ".mp4":
            raise ValueError(f"TensorBoard plays GIFs, but no MP4: {file}; `jepakit.agent.video.film` writes GIFs, too")
        with Image.open(file) as image:
            width, height = image.size
        picture = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=file.read_bytes())
        self.writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=picture)]), env_steps)

    def flush(self) -> dict[str, Any]:
        """Write the events to their file."""
        self.writer.flush()
        return {}

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Close the event file."""
        if summary:
            self._add(self.session_end)
        self.writer.close()

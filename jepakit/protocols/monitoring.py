"""What looks at a run without changing it: diagnostics and sinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path


class MirroredRun(NamedTuple):
    """The run whose records a `Sink` receives."""

    id: str  #: jepakit's id
    name: str  #: the recipe's
    recipe: Mapping[str, Any]  #: every value of ``recipe.yaml``, nested as there
    held: int  #: env steps up to which the sink has been given all records; 0: a new run
    state: Mapping[str, Any]  #: what `Sink.flush` returned then; empty: a new run


@runtime_checkable
class Sink(Protocol):
    """Shows a run's records in another tool.

    Its constructor does nothing that can be seen from outside. All its methods are called from one thread, which is not the training's:
    they may be slow and may raise, and draw no random numbers. A process can be killed at any moment, so the records after the last
    `flush` may come again, in the same order; the tool must not show them twice.
    """

    def begin(self, run: MirroredRun) -> int:
        """Open the tool's run: a new one, or the one that ``run.state`` names, if it is still there.

        Returns:
            The env steps up to which the tool holds all records. Those after it come next. What the tool holds beyond, this method removes,
            or `metrics` ignores when it comes again.
        """
        ...

    def metrics(self, record: Mapping[str, float], env_steps: int, time: float) -> None:
        """Take the numbers of one record of ``metrics.jsonl``, by the same names; ``time`` is in seconds since 1970."""
        ...

    def event(self, record: Mapping[str, Any]) -> None:
        """Take a verdict on the embedding from ``events.jsonl``: ``event`` (collapsed, recovered), ``env_steps`` and its figures."""
        ...

    def flush(self) -> dict[str, Any]:
        """Hand everything so far to the tool, and return, as JSON values, what another process needs to continue the tool's run."""
        ...

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Close the tool's run; ``summary`` is the content of ``summary.json``, None if the run has been killed."""
        ...


@runtime_checkable
class ShowsMedia(Protocol):
    """A `Sink` that shows pictures and videos, too."""

    def media(self, name: str, file: Path, env_steps: int) -> None:
        """Show ``file`` (PNG, JPEG, GIF or MP4) under ``name``.

        Raises:
            ValueError: The tool shows no files of its kind.
        """
        ...


#: What a `Diagnostic` may ask for, by parameter name. Everything is measured without augmentations, in eval mode, without gradient.
LOOKS = {
    "pixels": "uint8 [M, K, C, H, W]: recent observations, 4·D but at most 1,024",
    "s_x": "float [M, D]: their online embeddings, in fp32",
    "embed": "a function: pixels [*, K, C, H, W] -> their online embeddings [*, D], in fp32",
    "s_y_hat": "float [B, H, D or P]: predictions from stacks that updates learn from, projected if there is a projector",
    "s_y": "float [B, H, D or P]: their targets",
    "s_y_copied": "float [B, H, D or P]: the copy-forward baseline, which is the target's embedding of x for every step ahead",
    "inside": "bool [B, H]: whether the prediction lies in its episode",
    "policy": "dict of scalars: what the algorithm says of its policy (`ShowsPolicy`)",
    "values": "float [B]: V or Q of steps that updates learn from (`ShowsValues`)",
    "value_targets": "float [B]: what they are trained towards",
    "gradients": "dict by loss term: the gradient of its weighted loss in one update of the round, by parameter; none where it has none",
    "weights_before": "dict: every trained parameter before that update, by name; the name begins with its part, such as `encoder.`",
    "weights_after": "dict: the same after that update",
}


@runtime_checkable
class Diagnostic(Protocol):
    """Figures about what the agent has learned, which nothing is trained on.

    Its ``__call__`` (of a module, ``forward``) names the `LOOKS` that it takes; only those are computed. It is called after a round of
    updates, once in ``diagnostics_every`` env steps, and only if the recipe has all that it names. It must not change what it is given.
    Random numbers that it draws are those of a copy of the run's generators. If it keeps something between two calls, it has
    ``state_dict()`` and ``load_state_dict(state)``, as every module has: tensors and JSON values, kept in the checkpoint.
    """

    def __call__(self, **looks: Any) -> Mapping[str, Any]:
        """The `LOOKS` that it names -> figures by the name of their metric, such as ``embedding/dead_dimensions``.

        A figure is a number, or a short list of numbers (at most `MOST_NUMBERS`). What has no value is NaN, or left out.
        """
        ...


MOST_NUMBERS = 64  #: in one figure of a diagnostic

"""``jepakit resume``: go on with a run that was cut short."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli import completion
from jepakit.cli.options import TrustOption


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False, autocompletion=completion.runs)],
    total_steps: Annotated[
        int | None,
        typer.Option(
            "--total-steps",
            metavar="N",
            help="Extend the run to N env steps, as a new run beside it that goes on from its newest checkpoint.",
        ),
    ] = None,
    trust: TrustOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show warnings and the result alone.")] = False,
) -> None:
    """Go on with a run that was interrupted, killed or failed, as if that had not happened."""
    from jepakit.cli.result import tell
    from jepakit.training.run import resume

    tell(resume(run, total_steps=total_steps, trust=trust, quiet=quiet))

"""``jepakit resume``: continue a run that was cut short, or extend one that has finished."""

from __future__ import annotations

from typing import Annotated

import typer

from jepakit.cli.importing import importing
from jepakit.cli.options import RunArg, TrustOption


def command(
    run: RunArg,
    total_steps: Annotated[
        int | None,
        typer.Option(
            "--total-steps",
            metavar="N",
            help="Extend the run to N env steps: a new run beside it continues from its newest checkpoint.",
        ),
    ] = None,
    trust: TrustOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings and the result.")] = False,
) -> None:
    """Continue a run that was interrupted, killed or failed, from its newest checkpoint."""
    with importing():
        from jepakit.cli.result import tell
        from jepakit.machine.group import is_first
        from jepakit.training.run import resume

    result = resume(run, total_steps=total_steps, trust=trust, quiet=quiet)
    if is_first():
        tell(result)

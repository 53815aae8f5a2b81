"""``jepakit export``: a trained policy and encoder as files that need no jepakit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli.options import BestOption, RunArg, TrustOption


def command(
    run: RunArg,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the files.", show_default=False)],
    best: BestOption = False,
    trust: TrustOption = False,
) -> None:
    """Write a run's policy and encoder as torch.export and ONNX files, its weights, and a model card; check them on frames of its env.

    The policy takes pixels [N, K, C, H, W] and returns the greedy action, and what it comes from. All files compute in fp32. A pretraining
    has no policy: of it the encoder alone is written.
    """
    from jepakit.agent.export.files import export
    from jepakit.cli.output import emit, table

    done = export(run, out, best=best, trust=trust, warn=lambda text: typer.echo(f"warning: {text}", err=True))
    rows = []
    for check in done.checks:
        name, (most, allowed) = max(check.differences.items(), key=lambda each: each[1][0] / each[1][1])
        actions = "" if check.equal_actions is None else f"{check.equal_actions} of {check.stacks}"
        rows.append((check.file, f"{name}: {most:.2g} (allowed: {allowed:.2g})", actions))
    emit(
        f"{done.folder}: written, and compared with {done.compared}",
        table("file", "largest difference", "equal actions", rows=rows),
        f"{done.folder / 'README.md'} says how to use them",
    )

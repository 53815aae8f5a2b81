"""``jepakit imagine``: what a run's predictor expects, beside what happens."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from jepakit.cli.options import BestOption, RunArg, TrustOption, WhereOption, episodes_seed

SHOWN = (1, 2, 3, 5, 8, 12, 15, 20, 30, 50, 100)  #: the k that the table has, as far as the roll-outs reach


def command(
    run: RunArg,
    ahead: Annotated[int, typer.Option("--ahead", "-k", metavar="K", min=1, max=1000, help="Steps to roll out.")] = 15,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=100, help="Env steps to play; a quarter of them is held out for errors and pictures.")
    ] = 4_000,
    seed: Annotated[int | None, episodes_seed("Seed of episodes, actions and decoder. Default: the run's seed + 1,000,003.")] = None,
    overrides: WhereOption = None,
    best: BestOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to write to. Default: RUN/imagine.", show_default=False)
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Roll a run's predictor out along the actions that the agent takes, beside what happens: a video, and the error by steps ahead.

    A decoder, trained on the side from episodes that the agent plays, draws what the predictor expects. The run itself does not change.
    """
    import json

    from jepakit.agent.imagination.imagine import imagine, work
    from jepakit.agent.movie import NO_FFMPEG, suffix
    from jepakit.cli.output import emit, table
    from jepakit.files.writing import write_atomically

    folder = out or run / "imagine"
    if suffix() == ".gif":
        typer.echo(NO_FFMPEG, err=True)
    with typer.progressbar(length=work(steps), label="imagining", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        found = imagine(
            run,
            folder,
            ahead,
            steps,
            seed,
            overrides=overrides or (),
            best=best,
            trust=trust,
            warn=lambda text: typer.echo(f"warning: {text}", err=True),
            on_progress=bar.update,
        )
    write_atomically(folder / "imagine.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
    shown = [at for at, k in enumerate(found["k"]) if k in SHOWN or k == found["k"][-1]]
    rows = [(str(found["k"][at]), *(f"{found[name][at]:.3f}" for name in ("predicted", "copied", "mean"))) for at in shown]
    emit(
        f"{run}: weights of {found['env_steps']:,} env steps, trained to predict {found['horizon']} ahead; seed {found['seed']}",
        "‖ŝ_y − s_y‖² as a share of the variance of s_y:",
        table("k", "imagined", "copied", "mean", rows=rows),
        _verdict(found),
        f"the decoder misses {found['decoder_unexplained']:.0%} of the frames' variance where it is given the true s_y",
        "wrote " + ", ".join(str(folder / name) for name in (*found["files"], "imagine.json")),
    )


def _verdict(found: Mapping[str, Any]) -> str:
    """Up to which k the predictor is of use."""
    useful = 0
    for k, predicted, copied, mean in zip(*(found[name] for name in ("k", "predicted", "copied", "mean")), strict=True):
        if predicted >= min(copied, mean):
            break
        useful = k
    if not useful:
        return "imagined is no better than copied or mean, not even one step ahead"
    return f"imagined is better than copied and mean {'at every k' if useful == found['k'][-1] else f'up to k = {useful}'}"

"""``jepakit record-episodes``: frames, actions and rewards on disk, for pretraining."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli import completion
from jepakit.cli.importing import importing
from jepakit.cli.options import SetOption, TrustOption, episodes_seed


def command(
    origin: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|RUN",
            help="A recipe, whose env is played at random, or a run's folder, whose policy plays.",
            show_default=False,
            autocompletion=completion.recipes,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The recording's folder, new or empty.", show_default=False)],
    steps: Annotated[int, typer.Option("--steps", "-n", metavar="N", min=1, help="Env steps to record, over all envs.")] = 10_000,
    random: Annotated[
        float | None,
        typer.Option(
            "--random", metavar="SHARE", min=0, max=1, help="Of a run: share of the episodes that are played at random.", show_default=False
        ),
    ] = None,
    hold: Annotated[
        int,
        typer.Option("--hold", metavar="N", min=1, help="Steps for which a random action is held, on average: higher N go further."),
    ] = 1,
    replay: Annotated[bool, typer.Option("--replay", help="Of a run: write its replay, and play nothing.")] = False,
    seed: Annotated[int | None, episodes_seed("Seed of the episodes. Default: the recipe's seed + 3,000,003.")] = None,
    overrides: SetOption = None,
    best: Annotated[bool, typer.Option("--best", help="Of a run: use the best checkpoint, not the newest.")] = False,
    trust: TrustOption = False,
) -> None:
    """Record episodes as frames, actions and rewards, for recipes with `source: {kind: recording, folder: DIR}`."""
    with importing():
        from jepakit.agent.recording.episodes import record_episodes
        from jepakit.agent.recording.replayed import record_replay
        from jepakit.cli.output import counted, emit
        from jepakit.errors import UserError
        from jepakit.files.writing import readable

    def warn(text: str) -> None:
        typer.echo(f"warning: {text}", err=True)

    if replay:
        if random is not None or hold != 1 or seed is not None or overrides or best:
            raise UserError("--replay writes what the run has kept: leave --random, --hold, --seed, --set and --best out")
        made = record_replay(origin, out, trust=trust, warn=warn)
    else:
        with typer.progressbar(length=steps, label="steps", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            made = record_episodes(
                origin,
                out,
                steps,
                random=random,
                hold=hold,
                seed=seed,
                overrides=overrides or (),
                best=best,
                trust=trust,
                warn=warn,
                on_steps=bar.update,
            )
    size = sum(file.stat().st_size for file in made.folder.iterdir())
    played = "" if made.mean_return is None else f", mean return {made.mean_return:.4g}"
    emit(
        f"recorded {made.steps:,} env steps in {counted(made.episodes, 'episode')}{played}: {made.frames:,} frames, {readable(size)}",
        f"    source: {{kind: recording, folder: {made.folder}}}",
    )

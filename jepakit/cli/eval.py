"""``jepakit eval``: the return of a run's policy in held-out episodes."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jepakit.cli.options import BestOption, RunArg, TrustOption, WhereOption, episodes_seed


class Acting(StrEnum):
    """Who acts."""

    trained = "trained"
    plan = "plan"


def command(
    run: RunArg,
    episodes: Annotated[int, typer.Option("--episodes", "-n", metavar="N", min=1, help="Episodes for each of the two policies.")] = 100,
    seed: Annotated[int | None, episodes_seed("Seed of the episodes. Default: the run's seed + 1,000,003.")] = None,
    overrides: WhereOption = None,
    policy: Annotated[
        Acting, typer.Option("--policy", help="The trained policy alone, or planning in the latent space beside it.")
    ] = Acting.trained,
    planner: Annotated[
        str | None,
        typer.Option(
            "--planner",
            metavar="FIELDS",
            help="With --policy plan: change fields of the recipe's planner: '{kind: cem, horizon: 5}'.",
            show_default=False,
        ),
    ] = None,
    best: BestOption = False,
    trust: TrustOption = False,
    video: Annotated[
        Path | None, typer.Option("--video", metavar="DIR", help="Film episodes of both policies into this folder.", show_default=False)
    ] = None,
    videos: Annotated[
        int | None,
        typer.Option("--videos", metavar="N", min=1, help="Episodes to film for each of the two policies. Default: 1.", show_default=False),
    ] = None,
) -> None:
    """Play held-out episodes with a run's newest weights, greedily and sampling; write RUN/eval.json.

    With --set the agent acts elsewhere than it was trained, and the result is written to a file beside it, RUN/eval-….json. So is a result
    with --policy plan, where the same episodes are also played by planning over the predictor's roll-outs, one with --best, and one with
    the run's own seed, whose episodes are not held out.

    With --video further episodes are filmed: the env, what the agent sees of it, and what it expects and intends. They change no result.
    """
    import json

    from jepakit.agent.evaluate import MODES, PLANNED, evaluate
    from jepakit.cli.output import counted, emit, table
    from jepakit.errors import UserError
    from jepakit.files.writing import variant, write_atomically
    from jepakit.recipe.dump import flow

    def warn(text: str) -> None:
        typer.echo(f"warning: {text}", err=True)

    if video and video.suffix in (".mp4", ".gif") and not video.is_dir():
        raise UserError(f"--video {video}: name a folder; each episode becomes a file in it")
    if video:  # an error should come before the evaluation
        from jepakit.storage.folder import make_folder

        make_folder(video)
    elif videos:
        raise UserError("--videos says how many episodes to film: add --video DIR")

    if video and policy is Acting.plan:
        warn("the episodes of the planner are not filmed: --video films the trained policy, greedy and sampled")
    if planner is not None and policy is not Acting.plan:
        raise UserError("--planner says how to plan: add --policy plan")
    plan = (planner or "{}") if policy is Acting.plan else None
    modes = (*MODES, PLANNED) if plan else tuple(MODES)

    with typer.progressbar(length=len(modes) * episodes, label="episodes", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        result = evaluate(
            run,
            episodes,
            seed,
            overrides=overrides or (),
            planner=plan,
            best=best,
            trust=trust,
            warn=warn,
            on_episode=lambda: bar.update(1),
        )
    changes = [
        *result.get("overrides", []),
        *([result["planner"]] if plan else []),
        *(["best"] if best else []),
        *(["training"] if not result.get("held_out", True) else []),
    ]
    written = run / variant("eval.json", changes)
    try:
        write_atomically(written, json.dumps(result, indent=2) + "\n")  # before it is printed, which may fail
    except OSError as error:
        warn(f"can't write {written}: {error.strerror}")
        changes = []
    rows = []
    for mode in modes:
        played = result[mode]
        places = 1 if abs(played["mean"]) >= 10 else 3  # MiniGrid's returns are below 1
        interval = "" if played["ci95"] is None else f" ± {played['ci95']:.{places}f}"
        normalized = [f"{played['human_normalized']:.3f}"] if "human_normalized" in played else []
        normalized += [f"{played['success']:.1%}"] if "success" in played else []
        mean, worst, best_one = (f"{played['mean']:.{places}f}{interval}", *(f"{end(played['returns']):g}" for end in (min, max)))
        rows.append((mode, mean, worst, best_one, *normalized))
    headings = ["policy", "return (mean ± 95% CI)", "min", "max"]
    headings += [name for key, name in (("human_normalized", "human-normalised"), ("success", "success")) if key in result[modes[0]]]
    emit(
        f"{run}: weights of {result['env_steps']:,} env steps, {counted(episodes, 'episode')} each, seed {result['seed']}",
        *([f"planned by {flow(result['planner'])}"] if plan else []),
        table(*headings, rows=rows),
        *([f"written to {written}"] if changes else []),
    )
    if video:
        _film(run, video, videos or 1, result["seed"], overrides=overrides or (), best=best, trust=trust)


def _film(run: Path, folder: Path, episodes: int, seed: int, **how: Any) -> None:
    from jepakit.agent.movie import NO_FFMPEG, suffix
    from jepakit.agent.video import film_both
    from jepakit.cli.output import emit

    if suffix() == ".gif":
        typer.echo(NO_FFMPEG, err=True)
    emit("filmed:", *(f"    {filmed.path}" for filmed in film_both(run, folder, episodes, seed, **how)))

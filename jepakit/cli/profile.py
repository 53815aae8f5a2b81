"""``jepakit profile``: where a recipe's time goes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from jepakit.cli.options import RecipeArg, SeedOption, SetOption

if TYPE_CHECKING:
    from jepakit.profiling.measure import Profile


def command(
    recipe: RecipeArg,
    overrides: SetOption = None,
    seed: SeedOption = None,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=0.0, help="Seconds of training to measure.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Train a recipe for some seconds, keep nothing, and show where the time goes and what would make it faster."""
    import json
    import os

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler, which reads it on import, would print its stages

    from jepakit.cli.output import emit
    from jepakit.profiling.advice import advice
    from jepakit.profiling.measure import profile
    from jepakit.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or (), seed)
    if loaded.sweep:
        raise loaded.error("sweep", f"this recipe is a sweep of {loaded.sweep.size:,} runs", "profile one: `--set sweep=null`")
    found = profile(loaded, seconds)
    advised = list(advice(loaded, found))
    if as_json:
        typer.echo(json.dumps(found.figures() | {"advice": advised}, indent=2))
    else:
        emit(*_shown(found), *(f"advice: {line}" for line in advised))


def _shown(found: Profile) -> Iterator[RenderableType]:
    from jepakit.cli.output import counted, table

    hardware = found.hardware
    yield (
        f"{found.steps_per_second:,.0f} env steps/s ({hardware.device}, {hardware.precision}, {counted(hardware.threads, 'thread')}): "
        f"{found.batches:,} × {found.env_steps_per_batch:,} env steps, each with {found.updates_per_batch:,.1f} updates"
    )
    rows = [(part, f"{1000 * spent:,.1f}", f"{found.share(part):.0%}") for part, spent in found.seconds.items()]
    yield table("part of a batch", "ms", "share", rows=rows)
    yield f"a checkpoint takes {1000 * found.checkpoint_seconds:,.0f} ms"
    yield (
        f"an update takes {1000 * found.update_seconds:,.1f} ms: {found.update_flops / 1e9:,.2f} GFLOP of products at "
        f"{found.update_flops / found.update_seconds / 1e9:,.0f} GFLOP/s, {found.peak_share:.0%} of the {found.peak_flops / 1e9:,.0f} "
        "that one large product reaches here"
    )
    operators = [(name, f"{share:.0%}", f"{calls:,.0f}") for name, share, calls in found.operators]
    yield table("operator", "share of updates", "calls an update", rows=operators)

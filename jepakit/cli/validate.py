"""``jepakit validate``: check that a recipe would run."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from jepakit.cli.importing import importing
from jepakit.cli.options import RecipeArg, SeedOption, SetOption

if TYPE_CHECKING:
    from jepakit.recipe import Recipe

PATIENCE = 120  #: seconds of CPU time that one rehearsal may take


def command(
    recipe: RecipeArg,
    overrides: SetOption = None,
    seed: SeedOption = None,
    no_plugins: Annotated[
        bool,
        typer.Option("--no-plugins", help="Import no plug-in, env module or installed component; report what was not checked."),
    ] = False,
) -> None:
    """Check a recipe, build its components and push one fake batch through them; for a sweep, do so for every configuration."""
    with importing():
        from jepakit.cli.output import emit
        from jepakit.machine.hardware import settle
        from jepakit.recipe import load_recipe, recipe_id
        from jepakit.sweep.plan import load_sweep, rehearse_runs

    if no_plugins:
        emit(*_without_plugins(recipe, overrides or [], seed))
        return
    loaded, _ = settle(load_recipe(recipe, overrides or (), seed))
    if loaded.sweep:
        plan = load_sweep(recipe, [*(overrides or ()), f"seed={loaded.seed}"])
        with _patience(plan.name, len(plan.runs)):
            configurations = rehearse_runs(plan.runs)
        told = [f"notice: {note}" for note in plan.notes]
        emit(f"valid: {plan.name}, a sweep of {len(plan.runs)} runs of {configurations} configurations", *told)
        return
    emit(f"valid: {loaded.name} ({recipe_id(loaded)})", *_rehearsed(loaded))


@contextlib.contextmanager
def _patience(name: str, rehearsals: int = 1) -> Iterator[None]:
    """Raise in the component that computes for too long: a size with a few digits too many would never end."""
    import torch

    from jepakit.errors import UserError

    def give_up(*_: object) -> None:
        raise UserError(f"one fake batch of `{name}` takes more than {PATIENCE} s of CPU time: is a size too large?")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE * rehearsals, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        torch.set_grad_enabled(True)  # the signal may have come while torch's own no_grad was being entered or left


def _rehearsed(recipe: Recipe) -> Iterator[str]:
    """Rehearse one run and report its shapes, hardware and notices."""
    from jepakit.machine.hardware import settle
    from jepakit.training.advice import frame_notices
    from jepakit.training.build import build_env
    from jepakit.training.rehearsal import rehearse

    recipe, hardware = settle(recipe)
    with _patience(recipe.name), contextlib.closing(build_env(recipe)) as env:
        learner, notices = rehearse(recipe, env, hardware)
        parameters = sum(parameter.numel() for parameter in learner.trained.parameters() if parameter.requires_grad)
        yield f"pixels [K, C, H, W] = {list(env.frame_shape)}, s_x [D] = [{learner.embedding_width}], {parameters:,} trained parameters"
        yield f"device {hardware.device}, precision {hardware.precision}, threads {hardware.threads}"
        yield from (f"notice: {notice}" for notice in notices)
        if recipe.simulated:
            yield from frame_notices(recipe, env)


def _without_plugins(recipe: str, overrides: list[str], seed: int | None) -> Iterator[str]:
    """Check a recipe while running no code but jepakit's own."""
    from jepakit.recipe import RecipeError
    from jepakit.recipe.load import code_named
    from jepakit.registry.plugins import installed_names
    from jepakit.sweep.variants import expand_recipe

    try:
        base, configurations = expand_recipe(recipe, [*overrides, *([] if seed is None else [f"seed={seed}"])], run_plugins=False)
    except RecipeError as error:
        if not all(problem.unchecked for problem in error.problems):
            raise
        yield "no mistake found, but the check is incomplete: nothing was built"
        yield from map(str, error.problems)
        return
    runs = [configuration.runs[0] for configuration in configurations]
    named = dict.fromkeys(name for run in runs for name in code_named(run.model_dump(mode="json", exclude={"plugins"})))
    yield f"valid as far as checked: {base.name}" + (f", a sweep of {len(runs)} configurations" if len(runs) > 1 else "")
    rehearsed = [] if named else [list(_rehearsed(run)) for run in runs]
    yield from rehearsed[0] if len(rehearsed) == 1 else []
    yield from (f"not run: {name}, so nothing was built" for name in named)
    yield from (f"not imported: the plug-in `{plugin.name}`" for plugin in runs[0].loaded_plugins)
    yield from (f"not imported: the package `{package}`" for package in installed_names())

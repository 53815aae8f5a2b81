"""``jepakit validate``: would this recipe run?"""

from __future__ import annotations

import contextlib

from jepakit.cli.options import RecipeArg, SeedOption, SetOption


def command(recipe: RecipeArg, overrides: SetOption = None, seed: SeedOption = None) -> None:
    """Check a recipe, build all its components and push one fake batch through them; of a sweep, those of every configuration."""
    from jepakit.cli.output import emit
    from jepakit.recipe import load_recipe, recipe_id
    from jepakit.sweep.plan import load_sweep, rehearse_runs
    from jepakit.training.build import build_env
    from jepakit.training.hardware import settle
    from jepakit.training.rehearsal import notices, rehearse

    loaded, hardware = settle(load_recipe(recipe, overrides or (), seed))
    if loaded.sweep:
        plan = load_sweep(recipe, [*(overrides or ()), f"seed={loaded.seed}"])
        configurations = rehearse_runs(plan.runs)
        emit(f"valid: {plan.name}, a sweep of {len(plan.runs)} runs of {configurations} configurations", *plan.notes)
        return
    with contextlib.closing(build_env(loaded)) as env:
        learner = rehearse(loaded, env, hardware)
        parameters = sum(parameter.numel() for parameter in learner.trained.parameters() if parameter.requires_grad)
        emit(
            f"valid: {loaded.name} ({recipe_id(loaded)})",
            f"pixels [K, C, H, W] = {list(env.frame_shape)}, s_x [D] = [{learner.embedding_width}], {parameters:,} trained parameters",
            f"device {hardware.device}, precision {hardware.precision}, threads {hardware.threads}",
            *(f"notice: {notice}" for notice in notices(loaded, env)),
        )

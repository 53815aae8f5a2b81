"""Advice that follows from a recipe's profile."""

from __future__ import annotations

from collections.abc import Iterator

from jepakit.machine.hardware import has_fast_bf16, usable_cores
from jepakit.profiling.measure import Profile
from jepakit.recipe import Recipe

LARGE = 0.4  #: share of a batch from which a part is worth a change
FEW_ENVS = 8
LOW_PEAK_SHARE = 0.15


def advice(recipe: Recipe, found: Profile) -> Iterator[str]:
    """What to change in ``recipe`` to make it faster, the largest part first; each line names the setting and what it costs."""
    cores = usable_cores()
    if found.share("env") >= LARGE:
        takes = f"stepping and drawing the env takes {found.share('env'):.0%} of the time"
        spread = recipe.processes == 1 and "processes" in recipe.env.component.context
        if spread and cores > 1:
            yield f"{takes}: `processes: auto` spreads the simulators over {cores} cores, with the same results"
        if getattr(recipe.env, "draw", None) == "exact":
            yield f"{takes}: `env.draw: fast` draws faster; its frames differ from published ones"
        if not spread and getattr(recipe.env, "draw", None) != "exact":
            yield f"{takes}: fewer frames are drawn if each action is repeated, which changes the task"
    if found.share("policy") >= LARGE and found.num_envs < FEW_ENVS:
        yield (
            f"acting takes {found.share('policy'):.0%} of the time in batches of {found.num_envs}: "
            "more `env.num_envs` need fewer passes through the encoder; they change what is learned"
        )
    if found.share("learner") >= LARGE:
        takes = f"learning takes {found.share('learner'):.0%} of the time"
        if found.peak_share < LOW_PEAK_SHARE:
            yield (
                f"{takes}, and its updates reach {found.peak_share:.0%} of this machine's peak: their operators are small; "
                "a larger `algorithm.minibatch_size` makes fewer and larger ones; it changes what is learned"
            )
        elif found.hardware.precision == "fp32" and has_fast_bf16(found.hardware.device):
            yield f"{takes}: `precision: bf16` is native to this hardware"
    if found.hardware.threads > 1 and found.peak_share < LOW_PEAK_SHARE:
        yield (
            f"{found.hardware.threads} threads are of little use to small operators: "
            "two runs at a time with `threads: 1` (`jepakit ablate`) use the cores better"
        )
    share = found.checkpoint_seconds / (recipe.checkpoint_every / found.steps_per_second)
    if share > 0.05:
        yield f"checkpoints take {share:.0%} of the time: raise `checkpoint_every` ({recipe.checkpoint_every:,} env steps now)"

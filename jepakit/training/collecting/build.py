"""Builds a recipe's collector, and refuses one that does not fit the recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchrl.envs import EnvBase

from jepakit import registry
from jepakit.protocols import Algorithm, Collector, OffPolicyAlgorithm
from jepakit.training.blame import Blame

if TYPE_CHECKING:
    from jepakit.recipe import Recipe


def build_collector(recipe: Recipe, env: EnvBase, algorithm: Algorithm) -> Collector:
    """Build the recipe's collector, which starts nothing yet.

    Raises:
        RecipeError: It can't be built as the recipe says, its workers don't share the simulators equally, its batches lag and the algorithm
            is on-policy, or the recipe learns from recorded data.
    """
    if recipe.source and not recipe.acts_in_process:
        raise recipe.error("collector.kind", "with a source of recorded data nothing acts or is collected", "leave `collector` out")
    with Blame(recipe).at("collector"):
        collector: Collector = registry.build("collector", recipe.collector)
    kind, workers, simulators = recipe.collector.kind, collector.workers, env.batch_size[0]
    if simulators % workers:
        wrong = f"{workers} workers cannot share {simulators} simulators equally"
        raise recipe.error("collector.workers", wrong, "a divisor of `env.num_envs`")
    if workers > 1 and not hasattr(recipe.env, "num_envs"):
        wrong = f"the env `{recipe.env.kind}` has no field `num_envs`, so workers cannot share its simulators"
        raise recipe.error("collector.workers", wrong, "1")
    if collector.lags and not isinstance(algorithm, OffPolicyAlgorithm) and not getattr(collector, "allow_lag", False):
        wrong = f"`{kind}` acts with older weights than the learner's, and `{recipe.algorithm.kind}` is on-policy"
        meant = f"`collector: {{kind: {kind}, allow_lag: true}}` if that is meant, or `kind: multi_sync`"
        raise recipe.error("collector.kind", wrong, meant)
    return collector

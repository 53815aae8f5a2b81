"""Each rank's share of a run: its simulators, and how they are seeded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchrl.envs import EnvBase

from jepakit.components.shared import ranks
from jepakit.machine.group import seed_of_rank
from jepakit.protocols import Shareable

if TYPE_CHECKING:
    from jepakit.recipe import Recipe


def share_of(recipe: Recipe) -> Recipe:
    """The recipe with this rank's share of its simulators; the recipe itself if there is one process.

    Raises:
        RecipeError: The run cannot be shared: the env has no ``num_envs``, the number of ranks does not divide it, or is more than the rows
            of a minibatch.
    """
    size, env = ranks.size(), recipe.env
    if size == 1:
        return recipe
    num_envs = getattr(env, "num_envs", None)
    if not isinstance(num_envs, int):
        raise recipe.error("env.kind", f"the env `{env.kind}` has no `num_envs`: its simulators cannot be shared by {size} ranks")
    if num_envs % size:
        near = f"a multiple of {size}, such as {(num_envs // size + 1) * size}"
        raise recipe.error("env.num_envs", f"{num_envs} simulators cannot be shared evenly by {size} ranks", near)
    rows = getattr(recipe.algorithm, "minibatch_size", None)
    if rows is not None and rows < size:
        raise recipe.error("algorithm.minibatch_size", f"{rows} rows cannot be shared by {size} ranks")
    return recipe.with_values({"env.num_envs": num_envs // size})


def seed_share(env: EnvBase, seed: int) -> None:
    """Seed this rank's simulators: as one process would seed those of the same numbers, if the env is `Shareable`."""
    shareable = isinstance(env, Shareable)
    if shareable:
        env.first_simulator = ranks.rank() * env.batch_size[0]
    env.set_seed(seed if shareable else seed_of_rank(seed))

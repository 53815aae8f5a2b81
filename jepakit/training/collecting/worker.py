"""How a worker makes, from what the run sends it, the env and the policy that it acts with."""

from __future__ import annotations

import math
import pickle
import sys
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from jepakit import registry
from jepakit.machine.generators import generators, seed_everything, set_generators
from jepakit.machine.hardware import Hardware, keep_freed_memory, usable_cores
from jepakit.protocols import PIXELS, POLICY_VERSION, Restorable, Weights
from jepakit.recipe import Recipe
from jepakit.recipe.identity import files_read, used_components
from jepakit.recipe.schema import Optimizer, Replay
from jepakit.registry.plugins import again, load_entry_points
from jepakit.training.build import build_env, build_learner
from jepakit.training.learner import Learner
from jepakit.training.policy import Policy

if TYPE_CHECKING:
    from jepakit.registry import Component
    from jepakit.registry.plugins import Plugin


#: What acting does not need, so that a worker does not build it.
ONLY_FOR_LEARNING = {
    **dict.fromkeys(("jepa", "curiosity", "planner", "sweep")),
    **dict.fromkeys(("regularizers", "auxiliary", "augmentations", "diagnostics", "sinks"), ()),
}


class MakeActor:
    """Makes the `WorkerActor` of one worker in another process, from the recipe and the code from outside jepakit that it uses."""

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        worker: int,
        workers: int,
        snapshot: dict[str, Any] | None,
        generators: dict[str, Any] | None,
    ) -> None:
        acts = recipe.with_values(ONLY_FOR_LEARNING | {"plugins": ()})
        self.path = list(sys.path)
        weights = {place: str(file.resolve()) for place, file in files_read(acts).items()}  # a worker's current folder may be another
        self.values = acts.with_values(weights).model_dump_json()
        self.plugins: tuple[Plugin, ...] = recipe.loaded_plugins
        self.classes = _dumped([found for found in used_components(acts) if not is_own(found) and not found.is_from_file])
        self.workers, self.snapshot, self.generators = workers, snapshot, generators
        self.seed = seed if worker == 0 else zlib.crc32(f"{seed} simulators of worker {worker}".encode())
        self.acting_seed = zlib.crc32(f"{seed} worker {worker}".encode())
        self.threads = max(1, torch.get_num_threads() // workers)

    def __call__(self) -> WorkerActor:
        """Import what the recipe uses, and build its env, its encoder and its algorithm.

        Raises:
            RecipeError: One of them can't be built in this process.
        """
        sys.path[:] = self.path
        torch.set_num_threads(self.threads)
        keep_freed_memory()
        load_entry_points()
        again(self.plugins)
        for slot, kind, cls in pickle.loads(self.classes):
            registry.register(slot, kind)(cls)
        return WorkerActor(self)

    def recipe(self) -> Recipe:
        """The part of the recipe that acts, with this worker's share of the simulators."""
        recipe = Recipe.model_validate_json(self.values)
        changed: dict[str, Any] = {"optimizer": Optimizer()}
        if recipe.processes == "auto":
            changed["processes"] = max(1, usable_cores() // self.workers)
        if self.workers > 1:
            env: Any = recipe.env
            changed["env.num_envs"] = env.num_envs // self.workers
        return recipe.with_values(changed)


class WorkerActor:
    """The `jepakit.protocols.Actor` of one worker.

    Args:
        made: What the run has sent.
    """

    def __init__(self, made: MakeActor) -> None:
        recipe = made.recipe()
        hardware = Hardware(recipe.device, recipe.precision, made.threads)
        self.env = build_env(recipe)
        self.env.set_seed(made.seed)
        unused = Replay(capacity=64 * self.env.batch_size[0])  # empty: the learner's own is elsewhere
        learner = build_learner(recipe.with_values({"replay": unused}), self.env, hardware)
        self.device = hardware.device
        self.learner = learner
        self.modules = acting_modules(learner)
        self.policy = VersionedPolicy(learner)
        if made.snapshot:
            self.env.restore(made.snapshot["env"])
        if made.generators:
            set_generators(made.generators)
        else:
            seed_everything(made.acting_seed)

    @torch.no_grad()
    def take(self, weights: Weights) -> None:
        """Put the learner's weights into the encoder and the algorithm, whose schedules go to where the learner's are."""
        if not math.isnan(weights.progress):
            self.learner.anneal(weights.progress)  # first: what a schedule keeps in buffers is among the weights
        content, at = torch.from_numpy(np.array(weights.content)), 0
        for tensor in tensors(self.modules):
            size = tensor.numel() * tensor.element_size()
            tensor.copy_(content[at : at + size].clone().view(tensor.dtype).view(tensor.shape))
            at += size
        if at != len(content):
            raise ValueError(f"the learner has {len(content)} bytes of weights, this worker {at}: a part differs from process to process")
        self.policy.version = weights.version

    def generators(self) -> dict[str, Any]:
        """Of Python, NumPy and torch."""
        return generators()

    def set_generators(self, state: dict[str, Any]) -> None:
        """Of Python, NumPy and torch."""
        set_generators(state)

    def snapshot(self) -> dict[str, Any]:
        """Of the env and the generators."""
        return {"env": self.env.snapshot() if isinstance(self.env, Restorable) else None, "generators": generators()}


class VersionedPolicy(Policy):
    """A `Policy` that writes down which weights it acts with."""

    def __init__(self, learner: Learner) -> None:
        super().__init__(learner)
        self.out_keys = [*self.out_keys, POLICY_VERSION]
        self.version = 0

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """As of `Policy`, and ``policy_version`` [N]."""
        acted = super().forward(tensordict)
        version = torch.full(acted.batch_size, self.version, dtype=torch.int64, device=acted[PIXELS].device)
        return acted.set(POLICY_VERSION, version)


def is_own(found: Component) -> bool:
    """Whether a component is jepakit's."""
    return found.cls.__module__.partition(".")[0] == "jepakit"


def _dumped(found: Sequence[Component]) -> bytes:
    """The classes of components, with the code of modules that cannot be imported by name."""
    modules = {sys.modules[each.cls.__module__] for each in found if each.cls.__module__ in sys.modules}
    made_here = [module for module in modules if module.__spec__ is None and module.__name__ != "__main__"]
    for module in made_here:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps([(each.slot, each.kind, each.cls) for each in found]))
    finally:
        for module in made_here:
            cloudpickle.unregister_pickle_by_value(module)


def acting_modules(learner: Learner) -> nn.Module:
    """The encoder and the algorithm."""
    parts = {"encoder": learner.encoder, "algorithm": learner.algorithm}
    return nn.ModuleDict({name: part for name, part in parts.items() if isinstance(part, nn.Module)})


def tensors(modules: nn.Module) -> list[Tensor]:
    """Every parameter and buffer, in an order that is the same in each process."""
    return [*modules.parameters(), *modules.buffers()]

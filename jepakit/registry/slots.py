"""The slots: the places in a recipe for components, and the context that jepakit supplies to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from jepakit.registry.signature import ComponentFields

#: The context that a constructor may ask for before its ``*``; jepakit supplies it by name.
CONTEXT = {
    "seed": "int: the recipe's seed",
    "processes": "int: how many processes the env's simulators may be spread over",
    "frames": "FrameShape (K, C, H, W): the shape of one observation's `pixels`",
    "action_spec": "TorchRL TensorSpec of one env's action: `Categorical(n)` or `Bounded`",
    "embedding_width": "int: D, measured by one fake forward of the encoder",
    "encoder": "nn.Module: the online encoder V(θ, ·)",
    "folder": "Path: the folder `sinks` of the run's folder",
}


class BegunFields(ComponentFields):
    """The fields of every part that can begin with weights that another run has learned."""

    reads: ClassVar[tuple[str, ...]] = ("checkpoint",)  #: fields that name files of weights: their contents count, not their names

    checkpoint: str | None = Field(
        None,
        description="Weights to begin with: a run's folder (its best checkpoint, else its newest), a checkpoint's folder, or a "
        ".safetensors file, relative to the recipe that names it. The part there must be the same. Null: initial weights.",
    )


class FreezableFields(BegunFields):
    """The fields of every such part that the optimizer trains."""

    frozen: bool = Field(False, description="Whether the weights stay as they are; the part then always runs in eval mode.")


class EncoderFields(FreezableFields):
    """The fields of every encoder."""

    simnorm: PositiveInt | None = Field(
        None, description="Size of the groups of s_x that each pass a softmax (SimNorm; Hansen et al. 2024, TD-MPC2: 8); null: none."
    )


class TermFields(ComponentFields):
    """The fields of every regularizer and every auxiliary term."""

    weight: NonNegativeFloat = Field(1.0, description="Factor of this term in the total loss (Eq. 3).")


class PlannerFields(ComponentFields):
    """The fields of every planner."""

    horizon: PositiveInt = Field(10, description="Steps that a plan looks ahead.")
    value: bool = Field(True, description="Whether the critic's value of where a plan ends is added to its rewards.")
    policy_samples: NonNegativeInt = Field(
        16, description="Sequences that the run's policy proposes, sampled in the predictor's roll-outs (as in TD-MPC); 0: none."
    )
    goal: Literal["sum", "last"] | None = Field(
        "sum",
        description="In an env with goals: plans are judged by the squared distance of their roll-out to the goal's embedding, summed over "
        "its steps or at its last one. Null: by rewards, as in an env without goals.",
    )
    metric: Literal["euclidean", "steps"] = Field(
        "euclidean",
        description="How that distance is measured: plainly, or in units of what one random step changes, along the predictor's roll-outs.",
    )
    every: PositiveInt = Field(1, description="Steps that are taken of a plan before the next search.")


class CuriosityFields(ComponentFields):
    """The fields of every curiosity."""

    weight: NonNegativeFloat = Field(
        0.5,
        description="Factor of the scaled surprise: the deviation of the discounted bonus, in units of the task's unscaled return (RND: "
        "0.5, of rewards clipped to ±1). The algorithm's `reward_scale` applies to both.",
    )
    gamma: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.99, description="Discount of the running return of surprises, whose standard deviation scales them (RND: 0.99)."
    )
    episodic: bool = Field(False, description="Whether that running return begins anew with each episode; RND's does not.")
    memory: PositiveInt | None = Field(
        None, description="Env steps by which the scale has forgotten all but 1/e of what was before; null: it forgets nothing, as in RND."
    )


@dataclass(frozen=True)
class Slot:
    """A place in a recipe for components of one sort."""

    name: str
    package: str  #: the package of its built-in components
    description: str
    context: tuple[str, ...] = ()  #: the names of ``CONTEXT`` that its components may ask for
    fields: type[ComponentFields] = ComponentFields  #: ``kind``, and the fields that the slot adds to all its kinds


SLOTS = {
    slot.name: slot
    for slot in (
        Slot("env", "jepakit.components.envs", "a batched TorchRL EnvBase that yields uint8 `pixels`", ("seed", "processes")),
        Slot("source", "jepakit.components.sources", "recorded data that a run learns from in place of its env", ("frames", "action_spec")),
        Slot("distraction", "jepakit.components.distractions", "changes frames where the task does not depend on it", ("seed", "frames")),
        Slot("encoder", "jepakit.components.encoders", "pixels -> embedding s_x", ("frames",), EncoderFields),
        Slot("target", "jepakit.components.targets", "the encoder whose embeddings s_y are predicted", ("encoder",), BegunFields),
        Slot(
            "predictor",
            "jepakit.components.predictors",
            "s_x and action -> predicted ŝ_y",
            ("frames", "action_spec", "embedding_width"),
            FreezableFields,
        ),
        Slot("objective", "jepakit.components.objectives", "the distance between ŝ_y and s_y", ("frames", "embedding_width")),
        Slot("projector", "jepakit.components.projectors", "a head between embeddings and the objective", ("embedding_width",)),
        Slot(
            "regularizer",
            "jepakit.components.regularizers",
            "a loss that keeps embeddings from collapsing",
            ("frames", "embedding_width"),
            TermFields,
        ),
        Slot(
            "auxiliary",
            "jepakit.components.auxiliaries",
            "a further loss that embeddings learn from",
            ("frames", "action_spec", "embedding_width"),
            TermFields,
        ),
        Slot("augmentation", "jepakit.components.augmentations", "changes stacks before an update encodes them", ("frames",)),
        Slot(
            "algorithm", "jepakit.components.algorithms", "acts and learns on s_x", ("frames", "action_spec", "embedding_width", "encoder")
        ),
        Slot("collector", "jepakit.components.collectors", "where the policy acts: in the run's own process, or in workers"),
        Slot(
            "curiosity",
            "jepakit.components.curiosities",
            "how surprising a step was, which is scaled and added to its reward",
            ("frames", "action_spec"),
            CuriosityFields,
        ),
        Slot(
            "diagnostic",
            "jepakit.components.diagnostics",
            "figures about what has been learned, on which nothing is trained; the collapse watch is always on",
            ("frames", "action_spec", "embedding_width"),
        ),
        Slot(
            "planner",
            "jepakit.components.planners",
            "searches for actions by the predictor's roll-outs, in `eval --policy plan`",
            ("action_spec",),
            PlannerFields,
        ),
        Slot("sink", "jepakit.components.sinks", "shows a run's metrics in another tool", ("folder",)),
        Slot("engine", "jepakit.components.engines", "where a sweep's runs are started; chosen by `ablate --engine`, in no recipe"),
    )
}

"""The fields of a recipe. Components add their own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from jepakit.recipe.errors import Place, Problem, RecipeError
from jepakit.recipe.slots import InSlot, default_kind, default_kinds
from jepakit.recipe.tree import KeyPath, Node, dotted, key_path
from jepakit.registry import BegunFields, CuriosityFields, EncoderFields, FreezableFields, TermFields
from jepakit.registry.plugins import Plugin
from jepakit.registry.signature import ComponentFields


@dataclass(frozen=True)
class BesidesResults:
    """Marks a field that does not affect a run's results: the run's id leaves it out."""


@dataclass(frozen=True)
class LeftOutAtDefault:
    """Marks a slot that was added later: its default kind is no part of a run's id."""


TASK = ("id", "game", "domain", "task")  #: the fields of an env that name its task
DIAGNOSTICS = ("dimensions", "spectrum", "prediction", "policy", "critic", "gradients", "updates", "drift")  #: on by default
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Values = Annotated[tuple[Any, ...], Field(min_length=1)]


class Block(BaseModel):
    """A part of a recipe: strict and frozen; unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Jepa(Block):
    """The self-supervised task: predict the next observation's embedding."""

    weight: NonNegativeFloat = 1.0
    """Factor of L_JEPA in the total loss (Eq. 3)."""
    horizon: PositiveInt = 1
    """Steps to predict ahead."""
    y: Literal["stack", "newest", "same"] = "stack"
    """What s_y encodes: the whole next stack (f[t-1], f[t], f[t+1]) as in the paper, f[t+1] repeated in place of every frame, or x itself
    with augmentations drawn anew (`same`, as in CURL)."""
    s_y_per: Literal["update", "batch"] = "update"
    """When s_y is encoded: at each update by the target as it then is, as in the paper; or once for each collected batch, by the target as
    it is before the batch's updates, which saves all of the target's forward passes but one. `batch` needs an on-policy algorithm, the
    next stacks as they are (no `augmentations`, no `y: same`) and a target without gradient."""
    target: Annotated[BegunFields, InSlot("target")] = default_kind("ema")
    predictor: Annotated[FreezableFields, InSlot("predictor")] = default_kind("mlp")
    objective: Annotated[ComponentFields, InSlot("objective")] = default_kind("l2")
    projector: Annotated[ComponentFields, InSlot("projector")] | None = None
    """A head between ŝ_y, s_y and the objective; the target has its own copy, updated as its encoder is. Null: none, as in the paper."""
    prediction_head: Annotated[ComponentFields, InSlot("projector")] | None = None
    """BYOL's q: a head on ŝ_y's side alone, behind the projector if there is one; a kind of projector that keeps the width. Null: none."""

    @field_validator("y")
    @classmethod
    def _same_is_now(cls, value: str, info: ValidationInfo) -> str:
        if value == "same" and info.data.get("horizon", 1) != 1:
            raise ValueError("`same` looks no step ahead: it needs `horizon: 1`")
        return value


class Replay(Block):
    """The replay buffer of off-policy algorithms; on-policy algorithms have none."""

    capacity: PositiveInt = 100_000
    """Env steps to keep, over all envs; the oldest are dropped first."""
    sampler: Literal["uniform", "prioritized"] = "uniform"
    """How steps are sampled: uniformly, or steps with a large TD error more often (Schaul et al. 2016)."""
    alpha: Annotated[float, Field(ge=0)] = 0.6
    """Exponent of the priorities; 0 samples uniformly."""
    beta: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Initial exponent of the importance weights; it rises to 1 over `total_steps`."""
    memory_map: bool = False
    """Whether frames are kept in files of the run's folder, not in memory."""


class Optimizer(Block):
    """Adam over every trained parameter."""

    lr: PositiveFloat = 1e-3
    """Initial learning rate."""
    lr_factors: dict[str, NonNegativeFloat] = {}
    """Factors on the learning rate, by part (`encoder`, `predictor`, `algorithm`) or by a name in a part (`algorithm.log_alpha`)."""
    lr_schedule: Literal["linear", "constant", "cosine"] = "linear"
    """How the learning rate falls to zero over `total_steps`; constant: not at all."""
    warmup_updates: NonNegativeInt = 0
    """Optimizer steps over which the learning rate rises to `lr` in a line; 0: it starts there."""
    max_grad_norm: PositiveFloat | None = 10.0
    """Gradients with a larger norm are scaled down to this norm; null: no clipping."""
    eps: PositiveFloat = 1e-8
    """Adam's ε."""
    max_bad_updates: PositiveInt = 10
    """Updates in a row whose loss or gradient is not finite before the run fails. Each such update is skipped."""


class Sweep(Block):
    """Runs for `jepakit ablate`: every case with every entry of zip, every combination of grid and every seed.

    Keys are paths such as `encoder.dim`. A value is anything that the recipe accepts there, including a whole component.
    """

    cases: dict[str, dict[str, Any]] = {}
    """Named sets of values by path; an empty set leaves the recipe unchanged."""
    zip: dict[str, Values] = {}
    """Lists of values by path, combined side by side: all first values together, then all second values."""
    grid: dict[str, Values] = {}
    """Lists of values by path, in every combination."""
    seeds: PositiveInt | Annotated[tuple[Seed, ...], Field(min_length=1)] = 1
    """The seeds, or how many, counted from the recipe's own seed."""

    @field_validator("zip")
    @classmethod
    def _side_by_side(cls, value: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        if len({len(values) for values in value.values()}) > 1:
            lengths = ", ".join(f"{len(values)} for `{path}`" for path, values in value.items())
            raise ValueError(f"the lists are combined side by side and must have the same length, not {lengths}")
        return value

    @property
    def size(self) -> int:
        """Number of runs."""
        entries = len(next(iter(self.zip.values()), ("the recipe as it is",)))
        seeds = self.seeds if isinstance(self.seeds, int) else len(self.seeds)
        return max(1, len(self.cases)) * entries * math.prod(map(len, self.grid.values())) * seeds


@dataclass(frozen=True)
class Written:
    """Where a recipe's values are written. All instances compare equal, since places do not decide whether two recipes are."""

    tree: Node | None = field(default=None, compare=False, repr=False)
    plugins: tuple[Plugin, ...] = field(default=(), compare=False, repr=False)


class Dropped(NamedTuple):
    """What a change of kind has dropped."""

    path: str  #: of the component
    kind: str  #: the new one
    old_kind: str
    values: dict[str, Any]  #: by field, as they were written


class Recipe(Block):
    """One run: every choice that decides it."""

    name: Annotated[Name, BesidesResults()] = "recipe"
    """Name of the run's folder; by default the name of the recipe's file."""
    case: Annotated[Annotated[str, Field(max_length=300)] | None, BesidesResults()] = None
    """Label of the run's configuration in tables and figures; a sweep writes its case's name here."""
    seed: Seed = 0
    """Seed of every random number generator."""
    parent: Annotated[str, Field(pattern=r"^[0-9a-f]{10}@[0-9]{1,18}$")] | None = None
    """The run that this run extends: its id and the env steps at which this run starts. `resume --total-steps` writes it."""
    total_steps: PositiveInt = 100_000
    """Env steps to train for, over all envs; with a `source`, recorded steps to draw."""
    env: Annotated[ComponentFields, InSlot("env")]
    source: Annotated[ComponentFields, InSlot("source")] | None = None
    """Recorded data to learn from in place of the env, which then says what observations and actions look like. It needs the algorithm
    `none`. Null: the env is stepped."""
    distractions: tuple[Annotated[ComponentFields, InSlot("distraction")], ...] = ()
    """Changes of the env's frames that the task does not depend on, applied in order, in training and in `eval`."""
    encoder: Annotated[EncoderFields, InSlot("encoder")] = default_kind("vit")
    jepa: Jepa | None = Field(default={}, validate_default=True)
    """The self-supervised task; null removes target, predictor and L_JEPA."""
    regularizers: tuple[Annotated[TermFields, InSlot("regularizer")], ...] = ()
    """Losses that keep embeddings from collapsing, each kind at most once."""
    auxiliary: tuple[Annotated[TermFields, InSlot("auxiliary")], ...] = ()
    """Further losses that train the embedding, each kind at most once."""
    augmentations: tuple[Annotated[ComponentFields, InSlot("augmentation")], ...] = ()
    """Random changes of the stacks that an update encodes, applied in order, drawn separately for x and y. Acting uses the env's pixels."""
    algorithm: Annotated[ComponentFields, InSlot("algorithm")] = default_kind("ppo")
    collector: Annotated[ComponentFields, InSlot("collector"), LeftOutAtDefault()] = default_kind("direct")
    curiosity: Annotated[CuriosityFields, InSlot("curiosity")] | None = None
    """A reward for surprise, added to the task's in training alone; null: none."""
    replay: Replay = Replay()
    optimizer: Optimizer = Optimizer()
    on_collapse: Literal["warn", "stop"] = "warn"
    """What to do once the embedding has collapsed: warn, or stop the run."""
    collapse_threshold: PositiveFloat = 1e-5
    """The embedding counts as collapsed when variance / mean square falls below this."""
    checkpoint_every: Annotated[PositiveInt, BesidesResults()] = 10_000
    """Env steps between checkpoints."""
    keep_checkpoints: Annotated[PositiveInt, BesidesResults()] = 2
    """How many of the newest checkpoints to keep, in addition to the best."""
    diagnostics: Annotated[tuple[Annotated[ComponentFields, InSlot("diagnostic")], ...], BesidesResults()] = Field(
        default=tuple({"kind": kind} for kind in DIAGNOSTICS), validate_default=True
    )
    """Figures about what has been learned, in records of their own, each kind at most once; by default all built-in ones."""
    diagnostics_every: Annotated[PositiveInt, BesidesResults()] = 2_000
    """Env steps between two records of the diagnostics."""
    eval_every: Annotated[PositiveInt | None, BesidesResults()] = None
    """Env steps between two evaluations during training, which choose the best checkpoint; null: none."""
    eval_episodes: Annotated[PositiveInt, BesidesResults()] = 10
    """Held-out episodes of such an evaluation, for each of the greedy and the sampled policy."""
    probe_every: Annotated[PositiveInt | None, BesidesResults()] = None
    """Env steps between state probes: what of the simulator's true state s_x tells (R²). They play 30 episodes each time. Null: none."""
    planner: Annotated[Annotated[ComponentFields, InSlot("planner")] | None, BesidesResults()] = None
    """How `jepakit eval --policy plan` plans; null: `cem` with its defaults."""
    sinks: Annotated[tuple[Annotated[ComponentFields, InSlot("sink")], ...], BesidesResults()] = ()
    """Other tools that show the run's metrics, each kind at most once. `metrics.jsonl` is always written."""
    plugins: Annotated[tuple[str, ...], BesidesResults()] = ()
    """Files (paths start at the recipe's folder) and modules that register components. Loading the recipe runs their code."""
    processes: Annotated[Annotated[int, Field(ge=1, le=1024)] | Literal["auto"], BesidesResults()] = 1
    """Processes that the env's simulators are spread over, with the same results; auto: one per core. It pays where drawing is slow."""
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """CPU threads of PyTorch."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the encoders' matrix products; auto: bf16 if the hardware multiplies it natively, else fp32."""
    device: Literal["auto", "cpu", "cuda", "mps"] | Annotated[str, Field(pattern=r"^cuda:[0-9]{1,3}$")] = "auto"
    """Device to train on."""
    sweep: Annotated[Sweep | None, BesidesResults()] = None
    """Makes the recipe many runs; null: one run."""

    _written: Written = PrivateAttr(default=Written())

    @field_validator("regularizers", "auxiliary", "diagnostics", "sinks")
    @classmethod
    def _each_kind_once(cls, value: tuple[ComponentFields, ...], info: ValidationInfo) -> tuple[ComponentFields, ...]:
        kinds = [config.kind for config in value]
        twice = PydanticCustomError("twice", "the list already has one of this kind")
        errors: list[InitErrorDetails] = [
            {"type": twice, "loc": (index, "kind"), "input": kind} for index, kind in enumerate(kinds) if kind in kinds[:index]
        ]
        if errors:
            raise ValidationError.from_exception_data(str(info.field_name), errors)
        return value

    @property
    def loaded_plugins(self) -> tuple[Plugin, ...]:
        """The recipe's plug-ins with the digests of their contents."""
        return self._written.plugins

    @property
    def learns(self) -> bool:
        """Whether the algorithm learns from rewards. One that says ``learns = False`` acts at random, as ``none`` does."""
        return bool(getattr(self.algorithm.component.cls, "learns", True))

    @property
    def simulated(self) -> bool:
        """Whether episodes can be played. An env that says ``simulated = False`` has no simulator, as ``none`` has not."""
        return bool(getattr(self.env.component.cls, "simulated", True))

    @property
    def acts_in_process(self) -> bool:
        """Whether the run's own process acts, not workers: its collector says ``in_process = True``, as ``direct`` does."""
        return bool(getattr(self.collector.component.cls, "in_process", False))

    def origins(self, path: str) -> list[Place]:
        """Where the value at a path such as ``regularizers.0.weight`` is written: of a mapping each entry's place; none for a default."""
        node = self._written.tree and self._written.tree.find(key_path(path))
        return list(node.places()) if node else []

    def written_sweep(self) -> Node | None:
        """The sweep as it is written, with the folders from which its files' paths start; None if there is none, or this is another one."""
        node = self._written.tree and self._written.tree.get("sweep")
        return node if node and node.data is not None and Sweep.model_validate_json(json.dumps(node.plain())) == self.sweep else None

    def locate(self, path: str) -> Place | None:
        """Where the value at a path is written; for a default, the key of the block that contains it; None if nothing is written."""
        return self._written.tree.nearest_place(key_path(path)) if self._written.tree else None

    def dropped_fields(self) -> Iterator[Dropped]:
        """Of each component whose kind was changed: the dropped fields that the new kind has, with another default."""
        tree, default = self._written.tree, dict(default_kinds(Recipe))
        for path, old in tree.without("sweep").components_replaced() if tree else ():
            component: Any = self
            for key in path:
                component = component[key] if isinstance(key, int) else getattr(component, key)
            now, new = component.model_dump(mode="json"), tree and tree.find(path)
            written = old.plain()
            lost = {name: written[name] for name in written if name in now and written[name] != now[name] and not (new and new.get(name))}
            if lost:
                yield Dropped(dotted(path), component.kind, str(written.get("kind", default.get(path))), lost)

    def error(self, path: str, wrong: str, advice: str = "") -> RecipeError:
        """A `RecipeError` about the value at a path, for the caller to raise.

        Args:
            path: Such as ``encoder.patch``.
            wrong: What is wrong with it.
            advice: What to write instead.
        """
        place = self.locate(path)
        return RecipeError([Problem(place, wrong if place else f"{path}: {wrong}", advice)])

    def with_values(self, values: Mapping[str, Any]) -> Recipe:
        """A copy of this recipe with other values at paths such as ``jepa.target.checkpoint``. They are not validated."""
        changed = self
        for path, value in values.items():
            changed = _replaced(changed, key_path(path), value)
        return changed

    def with_source(self, tree: Node, plugins: Sequence[Plugin]) -> Recipe:
        """Remember where this recipe is written, and return it."""
        self._written = Written(tree, tuple(plugins))
        return self


def _replaced(value: Any, path: KeyPath, new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    if isinstance(value, tuple):
        return tuple(_replaced(entry, tuple(rest), new) if index == key else entry for index, entry in enumerate(value))
    return value.model_copy(update={key: _replaced(getattr(value, str(key)), tuple(rest), new)})


def besides_results(block: type[BaseModel]) -> frozenset[str]:
    """The fields of a block that are marked `BesidesResults`."""
    return frozenset(name for name, field in block.model_fields.items() if any(isinstance(mark, BesidesResults) for mark in field.metadata))


def holds_blocks(value: Any) -> bool:
    """Whether a field's value is a block or a component, or a list of them. A model of a component's author is a value like any other."""
    return _is_block(value) or (isinstance(value, tuple) and any(_is_block(entry) for entry in value))


def _is_block(value: Any) -> bool:
    return isinstance(value, ComponentFields) or (isinstance(value, BaseModel) and type(value).__module__.startswith("jepakit."))


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, for editors: ``extends``, and every registered kind with its fields."""
    schema = Recipe.model_json_schema()
    text = {"type": "string"}
    extends = {
        "anyOf": [text, {"type": "array", "items": text}],
        "description": "Recipes that this one builds on: paths, relative to its folder, or names of shipped recipes.",
    }
    properties = {"extends": extends} | schema["properties"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | {
        **schema,
        "properties": properties,
        "anyOf": [{"required": ["env"]}, {"required": ["extends"]}],
        "required": [],
    }

"""The interfaces between the parts of a run: small Protocols, shared types and TensorDict keys.

Shapes use the same letters everywhere: N envs, T steps of one rollout, B rows of a minibatch, M predictions that lie within their
episodes, H the prediction horizon, K stacked frames, C channels, D the embedding width, P the projection width, A the action width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tensordict import TensorDictBase
    from tensordict.nn import TensorDictModuleBase
    from torch import Tensor, nn
    from torchrl.data import TensorSpec

PIXELS = "pixels"  #: uint8 [*, K, C, H, W], the last K frames, newest last
S_X = "s_x"  #: float [*, D], the online encoder's embedding of ``pixels``
VIEWS = "s_x_views"  #: float [B, views, D], the embeddings of several augmented views of the same stack; the first is ``s_x``
ACTION = "action"  #: int64 [*] for discrete actions, float [*, A] for continuous ones
REWARD = "reward"  #: float32 [*, 1], unscaled
MASK = "mask"  #: bool [B, H+1]: True where the window is still in the episode it started in
EPISODE_RETURN = "episode_return"  #: float32 [*, 1], undiscounted and unscaled, so far
EPISODE_LENGTH = "episode_length"  #: int64 [*, 1], env steps so far
EPISODE_OVER = "episode_over"  #: bool [*, 1]: the task's episode has ended; absent: as ``done``
LEARNED_RETURN = "learned_return"  #: float32 [*, 1]: sum of the rewards used in learning; absent: as ``episode_return``


class FrameShape(NamedTuple):
    """The shape of one observation's ``pixels``: K stacked frames of C channels, H rows and W columns."""

    frames: int
    channels: int
    height: int
    width: int


class ReferenceScores(NamedTuple):
    """Published scores for a task, which normalise returns: (return - random) / (human - random)."""

    random: float  #: mean return of a random policy
    human: float


@runtime_checkable
class Env(Protocol):
    """What the slot ``env`` asks for in addition to TorchRL's ``EnvBase`` of batch size [N].

    Its observations hold uint8 ``pixels`` [N, K, C, H, W], ``episode_return`` and ``episode_length`` [N, 1]. Every step returns fresh
    tensors.

    If learning sees other rewards or episodes than the task has, observations also hold ``learned_return`` [N, 1] and ``episode_over``
    [N, 1], which is False if ``done`` ends an episode only for learning (the next reset continues it). ``episode_return`` and
    ``episode_length`` are then the task's. An env that repeats each action has ``frames_per_step``, the simulator frames in one env step.
    An env whose task has `ReferenceScores` has them as ``reference_scores``.
    """

    frame_shape: FrameShape
    seconds: float  #: wall-clock time spent in steps and resets so far

    @property
    def single_action_spec(self) -> TensorSpec:
        """The spec of one env's action."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """An `Env` that can be saved and restored in the middle of its episodes. Without it, a resumed run begins new episodes."""

    def restores_exactly(self) -> bool:
        """Whether a restored env continues exactly as this one would. A run tries this at its start."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """The state of all episodes, as tensors and JSON values."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Return to a snapshot's state; the next reset returns the observations of that state."""
        ...


@runtime_checkable
class Pictured(Protocol):
    """An `Env` that can draw its simulators for people; without it, videos show what the agent sees."""

    def picture(self, n: int) -> NDArray[np.uint8]:
        """Simulator ``n`` now, uint8 [H, W, 3] or grey [H, W]: in full size and colour if it can, without distractions."""
        ...


@runtime_checkable
class HasState(Protocol):
    """An `Env` that tells the true state of its simulators, from which probes learn what the embedding knows. The agent never sees it.

    Envs derived from jepakit's `BatchedEnv` have it. A Gymnasium simulator of your own offers its state by a method
    ``true_state() -> {name: number}`` of the env itself, below all wrappers.
    """

    def true_state(self, read: Callable[[Any], Mapping[str, float]] | None = None) -> Sequence[Mapping[str, float]]:
        """The state of each of the N simulators now, as finite numbers by name, the same names at every step.

        Args:
            read: Takes a simulator, below all wrappers, and returns its state. None: the env knows how.
        """
        ...


@runtime_checkable
class Annealed(Protocol):
    """A part with schedules of its own. Every algorithm is one; a target or an experience may be."""

    def anneal(self, progress: float) -> None:
        """Set the schedules to ``progress``, which rises from 0 to 1 over the run. Called before each round of updates."""
        ...


@runtime_checkable
class Attentive(Protocol):
    """An encoder, or a module within one, that can show where it looks. `jepakit report` draws that over the frames."""

    def attention(self, pixels: Tensor) -> Tensor | None:
        """uint8 ``pixels`` [B, K, C, H, W] -> weights in [0, 1], [B, T, rows, columns]; None if there is nothing to show.

        T is K, or the number of groups of as many frames that share their patches.
        """
        ...


@runtime_checkable
class Observer(Protocol):
    """A module inside an encoder that keeps statistics of the frames that the run collects."""

    def observe(self, frames: Tensor) -> None:
        """Count uint8 ``frames`` [M, C, H, W] in, each once; called once for each collected batch, for every copy of the encoder."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """V(θ, x): maps stacks of frames to embeddings. Any ``nn.Module`` with this ``forward`` is an encoder."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float ``s_x`` [*, D]; any number of leading dimensions."""
        ...


@runtime_checkable
class Target(Protocol):
    """V(θ̄, y): the encoder whose embeddings the predictor learns to predict."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float ``s_y`` [*, D]."""
        ...

    def update(self, encoder: nn.Module) -> None:
        """Follow the online encoder; called once after every optimizer step."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """Maps s_x[t] and a[t] to the predicted ŝ_y[t+1]."""

    def __call__(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D] and ``action`` [B] (int64) or [B, A] (float) -> ŝ_y [B, D].

        A predictor that keeps a state over several steps also has ``unroll(s_x [B, D], actions [B, H, ...]) -> [B, H, D]``.
        The learner unrolls all others by feeding each prediction back in.
        """
        ...


@runtime_checkable
class Objective(Protocol):
    """The distance between predicted and target embeddings."""

    def __call__(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        """ŝ_y and s_y, both [M, D], of the M predictions that lie within their episodes -> one loss for each, [M].

        If an embedding is N tokens, both are [M, N, D] and the losses are [M, N]. The learner averages the losses.
        """
        ...


@runtime_checkable
class Projector(Protocol):
    """A head between the embeddings ŝ_y and s_y and the objective. The target has its own copy, updated as its encoder is."""

    def __call__(self, s: Tensor) -> Tensor:
        """Embeddings [*, D] -> projections [*, P]; any number of leading dimensions."""
        ...


#: The inputs that the ``forward`` of a regularizer or an auxiliary term may ask for, by parameter name.
INPUTS = {
    "s_x": "float [B, D]: online embeddings of x, with gradient",
    "s_x_next": "float [B, D]: online embeddings of the next stack, with gradient; costs a second encoder pass",
    "s_y_hat": "float [M, D]: the predictions that lie within their episodes, projected if there is a projector",
    "s_y": "float [M, D]: their targets",
    "pixels": "uint8 [B, K, C, H, W]: x, augmented as the encoder saw it",
    "action": "int64 [B] or float [B, A]: the action taken at x",
    "reward": "float [B, 1]: the unscaled reward that followed",
}


@runtime_checkable
class LossTerm(Protocol):
    """A regularizer or an auxiliary term: a loss on a minibatch.

    Its ``forward`` names the `INPUTS` that it takes, and returns a scalar to minimise: ``forward(self, s_x)``,
    ``forward(self, s_x, s_x_next, action)``.
    """

    def __call__(self, **inputs: Tensor) -> Tensor:
        """The `INPUTS` that ``forward`` names -> scalar."""
        ...


@runtime_checkable
class Augmentation(Protocol):
    """A random change of the pixels that preserves their content: one draw per stack, the same for its K frames."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [B, K, C, H, W] -> uint8, the same shape; draws from torch's global generator."""
        ...


@runtime_checkable
class Distraction(Protocol):
    """A change of an env's frames that the task does not depend on.

    It is a function of its arguments and of what its constructor was given, without a state of its own: so a resumed run continues exactly.
    """

    def __call__(self, frame: Tensor, background: Callable[[], Tensor], episode: int, step: int) -> Tensor:
        """uint8 ``frame`` [C, H, W] -> a new uint8 tensor of the same shape.

        Args:
            frame: The frame, after the distractions before this one.
            background: Returns where the undistracted frame shows background: bool [H, W].
            episode: A number of its own for each episode of each simulator.
            step: Env steps since the episode's start.
        """
        ...


@runtime_checkable
class Distractible(Env, Protocol):
    """An `Env` that shows its frames through distractions, which `jepakit.training.build` sets before the first reset."""

    distractions: Sequence[Distraction]


class MirroredRun(NamedTuple):
    """The run whose records a `Sink` receives."""

    id: str  #: jepakit's id
    name: str  #: the recipe's
    recipe: Mapping[str, Any]  #: every value of ``recipe.yaml``, nested as there
    held: int  #: env steps up to which the sink has been given all records; 0: a new run
    state: Mapping[str, Any]  #: what `Sink.flush` returned then; empty: a new run


@runtime_checkable
class Sink(Protocol):
    """Shows a run's records in another tool.

    Its constructor does nothing that can be seen from outside. All its methods are called from one thread, which is not the training's:
    they may be slow and may raise, and draw no random numbers. A process can be killed at any moment, so the records after the last
    `flush` may come again, in the same order; the tool must not show them twice.
    """

    def begin(self, run: MirroredRun) -> int:
        """Open the tool's run: a new one, or the one that ``run.state`` names, if it is still there.

        Returns:
            The env steps up to which the tool holds all records. Those after it come next. What the tool holds beyond, this method removes,
            or `metrics` ignores when it comes again.
        """
        ...

    def metrics(self, record: Mapping[str, float], env_steps: int, time: float) -> None:
        """Take the numbers of one record of ``metrics.jsonl``, by the same names; ``time`` is in seconds since 1970."""
        ...

    def event(self, record: Mapping[str, Any]) -> None:
        """Take a verdict on the embedding from ``events.jsonl``: ``event`` (collapsed, recovered), ``env_steps`` and its figures."""
        ...

    def flush(self) -> dict[str, Any]:
        """Hand everything so far to the tool, and return, as JSON values, what another process needs to continue the tool's run."""
        ...

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Close the tool's run; ``summary`` is the content of ``summary.json``, None if the run has been killed."""
        ...


#: What a `Diagnostic` may ask for, by parameter name. Everything is measured without augmentations, in eval mode, without gradient.
LOOKS = {
    "pixels": "uint8 [M, K, C, H, W]: recent observations, 4·D but at most 1,024",
    "s_x": "float [M, D]: their online embeddings, in fp32",
    "embed": "a function: pixels [*, K, C, H, W] -> their online embeddings [*, D], in fp32",
    "s_y_hat": "float [B, H, D or P]: predictions from stacks that updates learn from, projected if there is a projector",
    "s_y": "float [B, H, D or P]: their targets",
    "s_y_copied": "float [B, H, D or P]: the copy-forward baseline, which is the target's embedding of x for every step ahead",
    "inside": "bool [B, H]: whether the prediction lies in its episode",
    "policy": "dict of scalars: what the algorithm says of its policy (`ShowsPolicy`)",
    "values": "float [B]: V or Q of steps that updates learn from (`ShowsValues`)",
    "value_targets": "float [B]: what they are trained towards",
    "gradients": "dict by loss term: the gradient of its weighted loss in one update of the round, by parameter; none where it has none",
    "weights_before": "dict: every trained parameter before that update, by name; the name begins with its part, such as `encoder.`",
    "weights_after": "dict: the same after that update",
}


@runtime_checkable
class Diagnostic(Protocol):
    """Figures about what the agent has learned, which nothing is trained on.

    Its ``__call__`` (of a module, ``forward``) names the `LOOKS` that it takes; only those are computed. It is called after a round of
    updates, once in ``diagnostics_every`` env steps, and only if the recipe has all that it names. It must not change what it is given.
    Random numbers that it draws are those of a copy of the run's generators. If it keeps something between two calls, it has
    ``state_dict()`` and ``load_state_dict(state)``, as every module has: tensors and JSON values, kept in the checkpoint.
    """

    def __call__(self, **looks: Any) -> Mapping[str, Any]:
        """The `LOOKS` that it names -> figures by the name of their metric, such as ``embedding/dead_dimensions``.

        A figure is a number, or a short list of numbers (at most `MOST_NUMBERS`). What has no value is NaN, or left out.
        """
        ...


MOST_NUMBERS = 64  #: in one figure of a diagnostic


@runtime_checkable
class ShowsPolicy(Protocol):
    """An `Algorithm` that says more about its policy, for diagnostics."""

    def policy_figures(self, steps: TensorDictBase) -> Mapping[str, Tensor]:
        """Scalars by name (``entropy``, ``kl``, …) on ``steps`` [B], as `losses` reads them, after a round of updates; changes nothing."""
        ...


@runtime_checkable
class ShowsValues(Protocol):
    """An `Algorithm` whose critic can be judged, for diagnostics."""

    def values_and_targets(self, steps: TensorDictBase) -> tuple[Tensor, Tensor]:
        """V or Q of ``steps`` [B], as `losses` reads them, and what it is trained towards, both [B]; changes nothing."""
        ...


class Term(NamedTuple):
    """One term of Eq. 3: the total loss is the sum of ``weight * loss`` over all terms."""

    weight: float
    loss: Tensor  #: scalar, unweighted, as the metrics log it


@runtime_checkable
class Algorithm(Annealed, Protocol):
    """Acts on, and learns from, a precomputed s_x."""

    gradients_to_encoder: bool  #: the paper's ∇: whether the RL losses reach the encoder
    rollout_steps: int  #: T, env steps of each env in one collected batch

    @property
    def minibatch_size(self) -> int | None:
        """B; None, on-policy, is the whole of each collected batch."""
        ...

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``; writes ``action`` and everything else about acting that the losses need, such as log-probabilities."""
        ...

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """The RL terms of Eq. 3 for ``minibatch`` [B], which holds ``s_x``, and further metrics to log, each by name."""
        ...


@runtime_checkable
class OnPolicyAlgorithm(Algorithm, Protocol):
    """An algorithm that learns from fresh rollouts, several epochs of minibatches each."""

    epochs: int

    def prepare(self, rollout: TensorDictBase, embed: Embed) -> TensorDictBase:
        """Add what the losses need (advantages, value targets) to ``rollout`` [N, T]; ``embed`` is the online encoder, without gradient."""
        ...


@runtime_checkable
class OffPolicyAlgorithm(Algorithm, Protocol):
    """An algorithm that learns from replay.

    Its minibatches [B] hold ``s_x`` and ``action``, and under ``next``: ``reward`` (the n-step return Σ γ^k r), ``s_x`` (embedded by
    `bootstrap_encoder` from the stack n steps later, or at the episode's end), ``terminated`` and ``done``. They also hold
    ``steps_to_next_obs`` [B, 1] (the number of rewards in the return) and, under prioritised replay, ``priority_weight`` [B]. ``losses``
    writes ``td_error`` [B] into the minibatch; prioritised replay samples in proportion to it. The policy head acts greedily when TorchRL's
    ``exploration_type()`` is ``MODE`` or ``DETERMINISTIC``, and explores when it is ``RANDOM``.
    """

    minibatch_size: int  #: B
    gamma: float  #: discount γ
    n_step: int  #: the most rewards that an n-step return adds up
    learning_starts: int  #: env steps before the first update
    updates_per_step: float  #: optimizer steps per env step
    bootstrap_encoder: nn.Module  #: embeds the stacks that values bootstrap from, without gradient; no optimizer trains it

    def updated(self, encoder: nn.Module) -> None:
        """Update the target networks; called once after every optimizer step."""
        ...


@runtime_checkable
class ActionValued(Protocol):
    """An algorithm whose policy head writes neither ``state_value`` nor ``action_value``, and whose critic can be asked."""

    def action_value(self, s_x: Tensor, action: Tensor) -> Tensor:
        """Q [B] of ``action`` [B] or [B, A], in units of scaled rewards, without gradient."""
        ...


@runtime_checkable
class ManyViews(Protocol):
    """An off-policy algorithm that averages over several augmented views of a stack.

    With more than one view, its minibatches also hold ``s_x_views``: [B, M, D], and under ``next`` [B, K, D]. The other terms of Eq. 3 read
    the first view.
    """

    views: int  #: M, views of x
    next_views: int  #: K, views of the stack that values bootstrap from


class Embed(Protocol):
    """The online encoder as the acting policy uses it: without gradient, in the run's precision."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float ``s_x`` [*, D]."""
        ...


class Minibatch(NamedTuple):
    """What one optimizer step learns from."""

    window: TensorDictBase  #: [B, H+1]: ``pixels``, ``action``, ``reward``, ``mask``; position 0 is x, the next steps follow
    steps: TensorDictBase  #: [B]: what the algorithm's losses read, in addition to ``s_x``


class Experience(Protocol):
    """Turns collected batches into minibatches."""

    def extend(self, batch: TensorDictBase) -> None:
        """Add a collected batch [N, T]."""
        ...

    def minibatches(self) -> Iterator[Minibatch]:
        """The minibatches of one round of updates."""
        ...

    def sample(self, rows: int | None = None) -> Minibatch:
        """One minibatch of the collected steps: as many as the algorithm's minibatches have, or at most ``rows``."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """The state that it carries from one round of updates to the next."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore that state."""
        ...

    def learned(self, minibatch: Minibatch) -> None:
        """Take what the losses wrote into ``minibatch.steps`` (priorities). Called after each optimizer step."""
        ...

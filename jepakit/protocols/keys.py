"""TensorDict keys, and small shared types."""

from __future__ import annotations

from typing import NamedTuple

PIXELS = "pixels"  #: uint8 [*, K, C, H, W], the last K frames, newest last
S_X = "s_x"  #: float [*, D], the online encoder's embedding of ``pixels``
VIEWS = "s_x_views"  #: float [B, views, D], the embeddings of several augmented views of the same stack; the first is ``s_x``
ACTION = "action"  #: int64 [*] for discrete actions, float [*, A] for continuous ones
REWARD = "reward"  #: float32 [*, 1], unscaled
TERMINATED = "terminated"  #: bool [*, 1]: the step has ended the episode for good, and not by a limit of time
S_Y = "s_y"  #: float [*, D], the target's embedding of the stack after the step; only if the recipe has `s_y_per: batch`
BONUS = "bonus"  #: float32 [*, 1], what curiosity adds to the unscaled reward; absent without curiosity
MASK = "mask"  #: bool [B, H+1]: True where the window is still in the episode it started in
EPISODE_RETURN = "episode_return"  #: float32 [*, 1], undiscounted and unscaled, so far
EPISODE_LENGTH = "episode_length"  #: int64 [*, 1], env steps so far
EPISODE_OVER = "episode_over"  #: bool [*, 1]: the task's episode has ended; absent: as ``done``
LEARNED_RETURN = "learned_return"  #: float32 [*, 1]: sum of the rewards used in learning; absent: as ``episode_return``
POLICY_VERSION = "policy_version"  #: int64 [*]: the `Weights.version` that chose the action; absent: the learner's own


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

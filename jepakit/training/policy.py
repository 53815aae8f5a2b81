"""The policy: pixels to actions, in the run's precision."""

from __future__ import annotations

from time import perf_counter

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase

from jepakit.diagnostics.finite import expect_finite_embedding
from jepakit.protocols import PIXELS, S_X
from jepakit.training.learner import Learner


class Policy(TensorDictModuleBase):
    """The learner's encoder and the algorithm's head, in the form a collector needs; measures its own time.

    The embedding is not stored with the batch, because it is stale after the first update. It acts on the learner's device, and writes to
    that of ``pixels``.

    Args:
        learner: The trained parts.
        everything: Whether to write all that the head computes, such as the values of actions not taken, and not only what losses need.
    """

    def __init__(self, learner: Learner, *, everything: bool = False) -> None:
        super().__init__()
        self.learner = learner
        self.head = learner.algorithm.policy_head()
        if everything:
            self.head.reset_out_keys()
        self.in_keys = [PIXELS]
        self.written = [key for key in self.head.out_keys if key != S_X]
        self.out_keys = self.written
        self.seconds = 0.0

    @torch.no_grad()
    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write the head's outputs for ``pixels`` [N, K, C, H, W] into ``tensordict`` [N].

        Raises:
            FloatingPointError: s_x is not finite.
        """
        start = perf_counter()
        pixels = tensordict[PIXELS]
        s_x = self.learner.embed(pixels)
        expect_finite_embedding(s_x)
        acted = self.head(TensorDict({S_X: s_x}, batch_size=tensordict.batch_size)).select(*self.written)
        tensordict.update(acted if pixels.device == s_x.device else acted.to(pixels.device))
        self.seconds += perf_counter() - start
        return tensordict

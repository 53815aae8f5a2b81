"""The diagnostic kind ``policy``."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from jepakit.registry import register


@register("diagnostic", "policy")
class Policy:
    """What the algorithm says of its policy, as ``policy/…``.

    On-policy: ``entropy``; ``kl``, how far the round has moved the policy from the one that acted (Schulman's estimator, the mean of
    r - 1 - log r over the ratios r); and of PPO ``clip_fraction``, the share of steps whose ratio is beyond the clip after the round.
    ``dqn``: ``epsilon``; ``greedy_entropy``, the entropy of the greedy actions over the sampled stacks, 0 if the agent would always do the
    same; ``action_gap``, by how much the best action's value exceeds the second best's. ``sac``: ``entropy`` and ``alpha``.
    """

    def __call__(self, policy: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scalars by name -> figures."""
        return {f"policy/{name}": value for name, value in policy.items()}

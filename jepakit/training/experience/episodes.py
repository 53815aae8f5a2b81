"""The episodes that end in a collected batch."""

from __future__ import annotations

from typing import Any

from tensordict import TensorDictBase

from jepakit.protocols import EPISODE_LENGTH, EPISODE_OVER, EPISODE_RETURN, LEARNED_RETURN


def ended_episodes(batch: TensorDictBase) -> list[tuple[int, dict[str, Any]]]:
    """The step at which each episode of ``batch`` [N, T] ends, and the figures of its record; in the order of their ends."""
    over = batch["next"].get(EPISODE_OVER, batch["next", "done"])
    found = []
    for step, env in over.squeeze(-1).T.nonzero().tolist():  # [T, N]: time first
        end = batch["next"][env, step]
        episode_return = end[EPISODE_RETURN].item()
        learned_return = end[LEARNED_RETURN].item() if LEARNED_RETURN in end else episode_return
        figures = {
            "episode_return": episode_return,
            **({} if learned_return == episode_return else {"learned_return": learned_return}),
            "episode_length": end[EPISODE_LENGTH].item(),
            "terminated": end["terminated"].item(),
        }
        found.append((step, figures))
    return found

"""What trains an encoder, in words, read off a recipe of unknown origin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Teachers(NamedTuple):
    """The terms of the loss that reach the encoder."""

    jepa: bool
    rewards: bool  #: the gradients of the RL losses
    regularizers: tuple[str, ...]  #: kinds
    auxiliaries: tuple[str, ...]

    @property
    def words(self) -> str:
        """All of them."""
        parts = ["JEPA"] * self.jepa + ["rewards"] * self.rewards
        parts += [f"the {kind} regularizer" for kind in self.regularizers] + [kind.replace("_", " ") for kind in self.auxiliaries]
        return " + ".join(parts) or "nothing: its weights stay as they began"

    @property
    def why_collapsed(self) -> str:
        """A likely reason for a collapse."""
        if not self.jepa:
            held = "the gradients of the rewards" if self.rewards else "what trains it"
            return (
                f"JEPA is not the cause: it takes no part here, and {held} did not keep the embeddings apart. Look at how pixels are "
                "scaled, "
                "and at the learning rate."
            )
        alone = not (self.rewards or self.regularizers or self.auxiliaries)
        if alone:
            return (
                "Nothing but JEPA trains this encoder. JEPA rewards predictable embeddings, and the most predictable ones are all the "
                "same; no reward and no regularizer pulls against that."
            )
        others = " and ".join(["rewards"] * self.rewards + ["a regularizer"] * bool(self.regularizers) + list(self.auxiliaries))
        return (
            f"JEPA rewards predictable embeddings, and the most predictable ones are all the same. Here {others} did not hold against that."
        )

    @property
    def why_alive(self) -> str:
        """What may have held a collapse off."""
        if not self.jepa:
            return "Without JEPA nothing pulls the embeddings together." if self.rewards else ""
        holding = []
        if self.rewards:
            holding.append("the rewards, which need embeddings that tell good states from bad ones")
        if self.regularizers:
            holding.append("the regularizer, which punishes embeddings that are all alike")
        if self.auxiliaries:
            holding.append(", ".join(kind.replace("_", " ") for kind in self.auxiliaries))
        if holding:
            return f"JEPA alone could make all embeddings the same. Against that stand {'; and '.join(holding)}."
        return "Nothing but JEPA trains this encoder. It could have made all embeddings the same, and has not done so."


def teachers(recipe: Mapping[str, Any]) -> Teachers:
    """The terms of a recipe's loss that reach the encoder; none reach a frozen one."""
    encoder, algorithm = (each if isinstance(each, dict) else {} for each in (recipe.get("encoder"), recipe.get("algorithm")))
    if encoder.get("frozen"):
        return Teachers(False, False, (), ())
    rewards = bool(algorithm) and algorithm.get("kind") != "none" and bool(algorithm.get("gradients_to_encoder", True))
    return Teachers(_weighs(recipe.get("jepa")), rewards, _kinds(recipe.get("regularizers")), _kinds(recipe.get("auxiliary")))


def _kinds(entries: Any) -> tuple[str, ...]:
    entries = entries if isinstance(entries, list) else []
    return tuple(str(entry.get("kind"))[:40] for entry in entries if _weighs(entry))


def _weighs(entry: Any) -> bool:
    return isinstance(entry, dict) and bool(entry.get("weight", 1.0))

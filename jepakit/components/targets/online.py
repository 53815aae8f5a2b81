"""No second encoder and no stop-gradient: L_JEPA pulls on both of its sides."""

from __future__ import annotations

from jepakit.components.targets.encoders import OnlineEncoder
from jepakit.registry import register


@register("target", "online")
class Online(OnlineEncoder):
    """θ̄ = θ, with gradient through ŝ_y and s_y both: s_y = V(θ, y).

    A constant embedding is its global minimum, so that it needs a term that forbids one: ``variance``, ``vicreg``, ``sigreg``, or
    ``infonce`` as the objective. It costs the target's backward pass besides.

    Source: Bardes et al. 2022, VICReg (both branches share weights, and both have the gradient); Chen and He 2021, SimSiam, section 4.1,
    where it collapses without a regularizer.
    """

"""No second encoder and no stop-gradient: L_JEPA trains both of its sides."""

from __future__ import annotations

from jepakit.components.targets.encoders import OnlineEncoder
from jepakit.registry import register


@register("target", "online")
class Online(OnlineEncoder):
    """θ̄ = θ, with gradients through both ŝ_y and s_y: s_y = V(θ, y).

    A constant embedding minimises L_JEPA, so the recipe needs a term that prevents one: ``variance``, ``vicreg``, ``sigreg``, or
    ``infonce`` as the objective. The target also costs a backward pass.

    Source: Bardes et al. 2022, VICReg (both branches share weights, and both have gradients); Chen and He 2021, SimSiam, section 4.1,
    where it collapses without a regularizer.
    """

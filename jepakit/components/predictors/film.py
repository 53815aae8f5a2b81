"""A predictor whose hidden layers the action scales and shifts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.predictors.actions import Actions
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("predictor", "film")
class FiLMPredictor(nn.Module):
    """h <- relu(γ(a) ⊙ (W h + b) + β(a)) for each hidden layer, and ŝ_y = W h + b: the action scales and shifts every hidden unit.

    An action can switch units off or flip their sign; in the paper's ``mlp`` it only shifts their thresholds. γ and β are linear in the
    action, with γ = 1 + Δγ, so that no unit starts at zero.

    Source: Perez et al. 2018, FiLM: Visual Reasoning with a General Conditioning Layer, Eqs. 1 to 3. These layers form an MLP, without
    the normalisation that FiLM's own have before γ and β: the paper finds that FiLM does not depend on it (section 4.3).

    Args:
        hidden: Width of the hidden layers.
        depth: Number of hidden layers; with 1 the predictor has two layers, as ``mlp`` does.
    """

    def __init__(self, embedding_width: int, action_spec: TensorSpec, *, hidden: PositiveInt = 256, depth: PositiveInt = 1) -> None:
        super().__init__()
        self.actions = Actions(action_spec)
        self.layers = nn.ModuleList(nn.Linear(hidden if i else embedding_width, hidden) for i in range(depth))
        self.films = nn.ModuleList(nn.Linear(self.actions.width, 2 * hidden) for _ in range(depth))
        self.out = nn.Linear(hidden, embedding_width)

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D], ``action`` [B] (int64) or [B, A] (float) -> ŝ_y [B, D]."""
        a = self.actions.vectors(action, s_x.dtype)
        h = s_x
        for layer, film in zip(self.layers, self.films, strict=True):
            delta_gamma, beta = film(a).chunk(2, dim=-1)
            h = F.relu((1 + delta_gamma) * layer(h) + beta)
        return self.out(h)

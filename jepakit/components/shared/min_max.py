"""Min-max renormalisation of embeddings, which encoder and predictor share so that both live on one scale."""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-5  #: smallest range to divide by


def min_max(s: Tensor) -> Tensor:
    """(s - min) / (max - min) over the last dimension of ``s`` [*, D]: float32 [*, D] from 0 to 1; zeros if all entries are equal.

    Source: Schrittwieser et al. 2020, MuZero, appendix (the scaling of the hidden state); Schwarzer et al. 2021, SPR.
    """
    s = s.float()
    least, most = s.aminmax(dim=-1, keepdim=True)
    return (s - least) / (most - least).clamp(min=EPSILON)

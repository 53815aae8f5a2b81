"""The metrics of one round of updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from jepakit.components.shared import ranks


def summarised(tried: Sequence[Mapping[str, Tensor] | None]) -> dict[str, float]:
    """One figure a metric of the updates ``tried`` in a round, of which those skipped are None.

    Returns:
        ``updates_skipped`` and, if any update was taken, metrics by name. Each is a mean over ranks and the round's updates, except
        ``embedding/variance`` and ``embedding/mean_square`` (of the last update) and ``embedding/variance_min`` (the round's minimum).
    """
    rows = [row for row in tried if row is not None]
    summary = {"updates_skipped": float(len(tried) - len(rows))}
    if not rows:
        return summary
    names = dict.fromkeys(name for row in rows for name in row)  # an algorithm may have terms at some updates only
    metrics = {name: ranks.averaged(torch.stack([row[name] for row in rows if name in row])) for name in names}
    summary |= {name: values.mean().item() for name, values in metrics.items()}
    for name in ("embedding/variance", "embedding/mean_square"):
        summary[name] = metrics[name][-1].item()
    summary["embedding/variance_min"] = metrics["embedding/variance"].min().item()
    return summary

"""Small runs' folders with everything that a report reads from files: some healthy, some collapsed, one with an evil name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

EVIL = "z<script>alert(1)</script>{0}%{y}$&amp;"
RECIPE: dict[str, Any] = {
    "name": "made_up",
    "total_steps": 3000,
    "env": {"kind": "gym", "id": "CartPole-v1"},
    "encoder": {"kind": "vit", "dim": 64},
    "jepa": {"weight": 1.0, "target": {"kind": "ema"}},
    "regularizers": [],
    "algorithm": {"kind": "ppo", "gradients_to_encoder": True},
    "plugins": ["./evil.py"],
}
R2 = {"angle": 0.9, "velocity": -3.0, "nothing": None, "mean": 0.4}
AHEAD = {kind: {"angle": [0.9, 0.5], "mean": [0.8, None]} for kind in ("predicted", "encoded", "copied")}
COUNTS = {"fit": 4, "held_out": 2}
PROBE = {"env_steps": 3000, "best": False, "seed": 1, "policy": "sampled", "episodes": COUNTS, "observations": COUNTS}
PROBE |= {"r2": {"linear": R2, "mlp": R2}, "ahead": {"k": [1, 2], **AHEAD}}

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def make_run_folder() -> Make:
    """Write the folder of a finished run."""
    return write_run


def write_run(folder: Path, seed: int = 0, collapsed: bool = False, batches: int = 12, probe: Any = None, **changes: Any) -> Path:
    """A run that learns, or one whose embedding collapses after its first third."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"seed": seed} | changes, sort_keys=False))
    (folder / "evil.py").write_text("raise SystemExit('code of a run was executed')")
    (folder / "events.jsonl").write_text('{"event": "start"}\n')
    (folder / "provenance.json").write_text(json.dumps({"git": {"sha": EVIL, "dirty": True}, "packages": {"torch": EVIL}, "cpu": EVIL}))
    records = []
    for batch in range(1, batches + 1):
        variance = 10.0 ** -(max(0.0, batch - batches / 3) if collapsed else 1.0) * random.uniform(0.8, 1.2)
        records.append({"phase": "episode", "env_steps": 250 * batch - 9, "episode_return": 10.0 * batch})
        times = {"time/env": 0.5, "time/policy": 0.1, "time/learner": 1.0, "time/batch": 1.7}
        figures = {
            "embedding/variance": variance,
            "embedding/mean_square": 1.0,
            "embedding/rank": 1.5 if collapsed else 9.0,
            "grad_norm": 2.0,
        }
        returns = 20.0 if collapsed else 20.0 * batch + seed
        norms = {"norm/weights/encoder": 1.0, "norm/weights/actor": 2.0}
        records.append(
            {
                "phase": "train",
                "env_steps": 250 * batch,
                "return_last_100": returns,
                "loss/jepa": 1 / batch,
                EVIL: 1.0,
                **figures,
                **norms,
                **times,
            }
        )
    shares = [0.9, 0.1] if seed else [0.7, 0.2, 0.1]
    records.append({"phase": "diagnostics", "env_steps": 250 * batches, "spectrum/shares": shares, "spectrum/rank_me": 2.0})
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    last = records[-2]
    summary = {
        "id": hashlib.sha256(f"{folder.name} {seed}".encode()).hexdigest()[:10],
        "status": "finished",
        "env_steps": 250 * batches,
        "wall_s": 60.0,
    }
    summary |= {"return_last_100": last["return_last_100"], "return_auc": 10.0, "embedding_variance": last["embedding/variance"]}
    summary |= {"embedding_rank": last["embedding/rank"], "collapsed": collapsed, "collapsed_at": 1500 if collapsed else None}
    (folder / "summary.json").write_text(json.dumps(summary))
    if probe is not None:
        (folder / "probe.json").write_text(json.dumps(probe))
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three configurations of two seeds: healthy and probed, collapsed, and one with an evil name."""
    top = tmp_path_factory.mktemp("page") / "runs"
    for seed in (0, 1):
        write_run(top / f"a{seed}", seed, case="J∇R̂", probe=PROBE)
        write_run(top / f"b{seed}", seed, collapsed=True, case="J∇̂R̂", algorithm={"kind": "ppo", "gradients_to_encoder": False})
        write_run(top / f"c{seed}", seed, case=EVIL, name=EVIL, jepa=None)
    return top

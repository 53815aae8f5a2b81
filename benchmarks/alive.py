"""Prints which embeddings are alive: variance / mean square and effective rank of s_x, for each run of a study.

    jepakit ablate studies/alive && jepakit record runs/alive --to docs/results/alive/runs
    python benchmarks/alive.py docs/results/alive/runs

With --frames, prints how much of an encoder's input changes in Gymnasium envs, under each scaling that needs no statistics.

    python benchmarks/alive.py --frames CartPole-v1 ale_py:ALE/Pong-v5
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from jepakit.components.encoders.pixels import FIXED_SCALINGS, scale
from jepakit.components.envs.gym import GymEnv
from jepakit.diagnostics.frames import changing_share, frame_figures
from jepakit.report.runs import Run, load_runs
from jepakit.training.advice import random_frames

RATIO, RANK = 1e-3, 2.0  #: an embedding is alive above both


def figures(run: Run) -> tuple[float, float, float]:
    """The smallest and the last variance / mean square over the run's batches, and the last effective rank."""
    variance, mean_square = run.curves["embedding/variance"], run.curves["embedding/mean_square"]
    ratio = np.divide(variance, mean_square, out=np.zeros_like(variance), where=mean_square > 0)
    ranks = run.curves["embedding/rank"]
    return float(np.nanmin(ratio)), float(ratio[-1]), float(ranks[~np.isnan(ranks)][-1])


def env_name(run: Run) -> str:
    """The name by which a reader knows the env."""
    env = run.recipe["env"]
    return str(env.get("game") or env.get("id") or f"{env['domain']} {env['task']}")


def print_runs(places: list[str]) -> None:
    """Print one row for each env and case."""
    rows: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for run in sorted(load_runs(places), key=lambda run: (env_name(run), str(run.recipe.get("case")), run.seed)):
        case = str(run.recipe.get("case") or "").partition(",")[0]
        rows.setdefault((env_name(run), case), []).append(figures(run))
    sys.stdout.write("| env | case | least variance / mean square | at the end | rank at the end | alive |\n|---|---|---|---|---|---|\n")
    for (env, case), seeds in rows.items():
        columns = zip(zip(*seeds, strict=True), (".1e", ".1e", ".1f"), strict=True)
        cells = [", ".join(f"{figure:{form}}" for figure in column) for column, form in columns]
        alive = sum(least >= RATIO and rank > RANK for least, _, rank in seeds)
        sys.stdout.write(f"| {env} | {case} | {' | '.join(cells)} | {alive} of {len(seeds)} |\n")


def print_frames(ids: list[str]) -> None:
    """Print one row for each Gymnasium id."""
    sys.stdout.write(f"| env | background, of 255 | pixels that change | {' | '.join(f'`{name}`' for name in FIXED_SCALINGS)} |\n")
    sys.stdout.write(f"|---|---|---|{'---|' * len(FIXED_SCALINGS)}\n")
    for id in ids:
        env = GymEnv(0, id=id, size=(84, 84), grayscale=False)
        frames = random_frames(env)
        env.close()
        shares = [f"{changing_share(scale(frames, name)):.3f}" for name in FIXED_SCALINGS]
        background, changing, _ = frame_figures(frames)
        sys.stdout.write(f"| {id} | {background} | {changing:.1%} | {' | '.join(shares)} |\n")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("of", nargs="+", help="run folders, records, or folders that contain either")
    parser.add_argument("--frames", action="store_true", help="OF are Gymnasium ids: measure frames of random play")
    options = parser.parse_args()
    (print_frames if options.frames else print_runs)(options.of)


if __name__ == "__main__":
    main()

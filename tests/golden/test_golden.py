"""Training numbers have not changed. A change that alters them says so in CHANGELOG.md under *Numbers* and regenerates the records:

python tests/golden/test_golden.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from jepakit.training.run import run

FOLDER = Path(__file__).parent
FEW = ["env.num_envs=4", "algorithm.rollout_steps=25", "total_steps=300", "device=cpu", "precision=fp32", "threads=1"]
EARLY = ["algorithm.learning_starts=100", "replay.capacity=1000"]  # for replay: updates begin within these few steps
RECIPES = {
    "cartpole_pixels": FEW,
    "cartpole_dqn": FEW + EARLY,
    "cartpole_sac": FEW + EARLY,
    "pendulum_pixels": FEW,
    "pixels": FEW,
    "paper/jepa_for_rl": FEW,
}


def here() -> dict[str, str]:
    """What determines how floating-point numbers are rounded. A record holds only where all of it is the same."""
    found = torch.cpu.get_capabilities()
    instructions = " ".join(name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if found.get(name))
    return {"cpu": str(found.get("cpu_name", "unknown")), "instructions": instructions, "torch": torch.__version__.partition("+")[0]}


def trained(recipe: str, folder: Path) -> list[dict[str, Any]]:
    """The metrics of a few steps, without times."""
    run(recipe, overrides=RECIPES[recipe], out=folder / "run", quiet=True)
    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "wall_s" and not key.startswith("time/")} for record in records]


def file_of(recipe: str) -> Path:
    return FOLDER / f"{recipe.replace('/', '_')}.json"


def recorded(recipe: str) -> list[dict[str, Any]]:
    """Records of several kinds of CPU, each with the machine that it was made on."""
    return json.loads(file_of(recipe).read_text()) if file_of(recipe).exists() else []


def record(recipe: str) -> None:
    """Record a recipe on this machine. If its numbers changed, the records of other machines are out of date and are dropped."""
    with tempfile.TemporaryDirectory() as scratch:
        mine = {"machine": here(), "records": trained(recipe, Path(scratch))}
    before = recorded(recipe)
    changed = any(each["machine"] == here() and each != mine for each in before)
    others = [] if changed else [each for each in before if each["machine"] != here()]
    file_of(recipe).write_text(json.dumps([*others, mine], indent=1) + "\n", encoding="utf-8")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_shipped_recipe_trains_to_the_recorded_numbers(recipe: str, tmp_path: Path) -> None:
    mine = [each["records"] for each in recorded(recipe) if each["machine"] == here()]
    if not mine:
        pytest.skip(f"recorded on {[each['machine'] for each in recorded(recipe)]}; this is {here()}, which may round differently")
    assert any(record.get("updates", 0) > 0 for record in mine[0])
    assert trained(recipe, tmp_path) == mine[0]


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in RECIPES:
        record(name)

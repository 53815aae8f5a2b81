"""Bad run folders and records: the files of a good one are corrupted, truncated, replaced or removed."""

from __future__ import annotations

import json
import os
import random
import shutil
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.fuzz import values
from tests.fuzz.harness import Input, call
from tests.fuzz.recipes import odd_file, written

RECIPE = """\
env: {kind: gym, id: CartPole-v1, num_envs: 2, size: [8, 12], max_episode_steps: 20}
encoder: {kind: vit, dim: 8, depth: 1, heads: 2, patch: 4}
algorithm: {kind: ppo, rollout_steps: 16, epochs: 1, minibatch_size: 16, hidden: [8]}
total_steps: 64
checkpoint_every: 32
threads: 1
device: cpu
precision: fp32
"""


@cache
def good(folder: Path) -> tuple[Path, Path]:
    """A finished run and its record, made once."""
    here = Path.cwd()
    folder.mkdir(parents=True)
    os.chdir(folder)
    written(folder, RECIPE)
    for args in (["run", "-q", "r.yaml", "--out", "run"], ["eval", "run", "-n", "2"], ["record", "run", "--to", "records"]):
        done = call(args)
        if done.code:
            raise RuntimeError(done.text)
    os.chdir(here)
    return folder / "run", next((folder / "records").iterdir())


def _spoil_json(rng: random.Random, content: bytes) -> bytes:
    lines = content.decode().splitlines()
    if len(lines) > 1 and all(line.startswith("{") for line in lines[:2]) and lines[0] != "{":  # JSON Lines
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(values.spoiled(rng, json.loads(lines[at])))
        return "\n".join(lines).encode()
    return json.dumps(values.spoiled(rng, json.loads(content))).encode()


def _spoil(rng: random.Random, path: Path) -> None:
    act = rng.choice(["bytes", "values", "values", "values", "odd", "gone", "text", "empty"])
    content = path.read_bytes()
    if act == "odd":
        path.unlink()
        odd_file(rng, path.parent, path.name)
    elif act == "gone":
        path.unlink()
    elif act == "values" and path.suffix in (".json", ".jsonl"):
        path.write_bytes(_spoil_json(rng, content))
    elif act == "text":
        texts: list[Any] = [
            "null",
            "[]",
            "{}",
            "3",
            '"x"',
            "NaN",
            "[" * 100_000,
            "{" * 5_000,
            '{"a": ' * 3_000,
            "9" * 5_000,
            "\ufeff{}",
            '{"status": "finished"}',
            '{"phase": "train"}\n' * 3,
            "\n\n",
            "env: 1",
            "true",
            '{"a": 1e999}',
            '{"a": "\\ud800"}',
            '{"status": null, "env_steps": []}',
        ]
        path.write_text(rng.choice(texts))
    elif act == "empty":
        path.write_bytes(b"")
    else:
        path.write_bytes(values.bytes_spoiled(rng, content))


def run_folder(rng: random.Random, folder: Path) -> Input:
    run = folder / "run"
    shutil.copytree(good(folder.parent / "good")[0], run)
    files = sorted(path for path in run.rglob("*") if path.is_file())
    top = [path for path in files if path.parent == run and path.name != "recipe.yaml"]
    args = rng.choice(
        [
            ["compare", "run"],
            ["compare", "run"],
            ["record", "run", "--to", "records"],
            ["eval", "run", "-n", "2"],
            ["eval", "run", "-n", "2", "--best"],
            ["resume", "-q", "run"],
            ["resume", "-q", "run"],
            ["show", "run/recipe.yaml"],
            ["ablate", "--dry-run", "r.yaml", "--out", "."],
        ]
    )
    if args[0] == "resume":  # a recipe that is still valid might train for longer
        files = [path for path in files if path.name != "recipe.yaml"]
        if rng.random() < 0.7:
            (run / "summary.json").unlink()
            files.remove(run / "summary.json")
            top.remove(run / "summary.json")
    if args[0] == "ablate":
        written(folder, RECIPE + "name: runs\n")
        (folder / "runs").mkdir()
        identity = json.loads((run / "summary.json").read_text())["id"]
        run = run.rename(folder / "runs" / identity)
        top = files = [run / path.name for path in top]
    for path in {rng.choice(top if rng.random() < 0.5 else files) for _ in range(rng.choice([1, 1, 2]))}:
        _spoil(rng, path)
    if rng.random() < 0.05:
        odd_file(rng, run, rng.choice(["lock", "eval.json2", "events2", "traceback.txt"]))
    return Input(args, ("run", "r.yaml"))


def hostile_recipe(rng: random.Random, folder: Path) -> Input:
    """An untrusted run. The code that it names may run only with --trust."""
    run = folder / "run"
    shutil.copytree(good(folder.parent / "good")[0], run)
    recipe = (run / "recipe.yaml").read_text()
    attack = f"import pathlib; pathlib.Path({str(folder / 'code_ran')!r}).touch()\n"
    written(run, attack, "evil.py")
    written(run, attack, f"evil_module_{rng.randrange(10**9)}.py")
    written(run, "plugins: [./evil.py]\n", "more.yaml")
    with_plugins = partial(recipe.replace, "plugins: []")
    forms = [
        with_plugins("plugins: [./evil.py]"),
        with_plugins("plugins: [evil.py]\nplugins: []"),
        with_plugins("plugins: []\nplugins: [evil.py]"),
        with_plugins("extends: more.yaml"),
        with_plugins("extends: [more.yaml]"),
        with_plugins("extends: ./../run/more.yaml"),
        "\ufeff\ufeffplugins: [./evil.py]\n" + recipe.replace("plugins: []\n", ""),
        "\ufeffplugins: [./evil.py]\n" + recipe.replace("plugins: []\n", ""),
        with_plugins('"plugins": ["./evil.py"]'),
        with_plugins("? plugins\n: - ./evil.py"),
        with_plugins("plugins: &p [./evil.py]"),
        with_plugins("plugins: [./evil.py]\r"),
        with_plugins("plugins: [./evil.py]\n\ttab: 1"),
        with_plugins("plugins: [./evil.py, 3]\nunknown: 1"),
        with_plugins("plugins: [!!str ./evil.py]"),
        recipe.replace("id: CartPole-v1", "id: evil_of_an_env:CartPole-v1"),
        recipe.replace("id: CartPole-v1", "id: evil_of_an_env:CartPole-v1\n  extra: 1"),
    ]
    written(run, values.bytes_spoiled(rng, rng.choice(forms).encode()) if rng.random() < 0.5 else rng.choice(forms), "recipe.yaml")
    written(run, attack, "evil_of_an_env.py")
    args = rng.choice([["eval", "run", "-n", "1"], ["resume", "-q", "run"], ["compare", "run"], ["record", "run", "--to", "records"]])
    return Input(args, ("run",))


def record(rng: random.Random, folder: Path) -> Input:
    kept = good(folder.parent / "good")[1]
    path = folder / "records" / kept.name
    path.parent.mkdir()
    shutil.copy(kept, path)
    _spoil(rng, path)
    if rng.random() < 0.2:
        other = folder / "records" / "0123456789.json"
        shutil.copy(kept, other)
        _spoil(rng, other)
    args = rng.choice(
        [
            ["compare", "records"],
            ["compare", f"records/{kept.name}"],
            ["record", "records", "--to", "out"],
            ["ablate", "--dry-run", "r.yaml", "--recorded", "records"],
            ["compare", "records", "--threshold", rng.choice(["nan", "x", "1e999", "5"])],
        ]
    )
    if args[0] == "ablate":
        written(folder, RECIPE)
    return Input(args, ("record", "r.yaml", "--threshold"))


def runs_place(rng: random.Random, folder: Path) -> Input:
    """Paths that lead to no run."""
    name = (
        odd_file(rng, folder, "run")
        if rng.random() < 0.6
        else rng.choice([*(text.replace("\0", "") for text in values.TEXTS), "x" * 300, "/dev/zero", "/proc/self"])
    )
    if name.startswith("-"):
        name = "./-"
    args = rng.choice(
        [
            *([verb, name] for verb in ("compare", "eval", "resume", "runs")),
            ["record", name, "--to", "records"],
            ["compare", "--out", name, "run"],
            ["run", "-q", "r.yaml", "--out", name],
        ]
    )
    written(folder, RECIPE)
    return Input(args, ("run", "no ", "folder", "path", name[:100], name.encode("unicode_escape").decode()))


FAMILIES = {
    "run folders": (run_folder, 14),
    "strangers' recipes": (hostile_recipe, 3),
    "records": (record, 6),
    "paths of runs": (runs_place, 3),
}

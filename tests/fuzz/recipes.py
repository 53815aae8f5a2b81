"""Bad recipes: corrupted bytes, tokens and trees, YAML's traps, special files, `extends`, `--set`, and absurd sweeps."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.fuzz import values
from tests.fuzz.harness import Input

SCRAPS = [
    *values.NUMBERS,
    "\t",
    "\n",
    "\n  ",
    "\n- ",
    "  ",
    "[",
    "]",
    "{",
    "}",
    ": ",
    ":",
    "- ",
    ", ",
    "? ",
    "&a ",
    "*a",
    "*a *a",
    "!!x ",
    "!!python/object/apply:os.system ",
    "!<tag:x> ",
    "!%FF ",
    "'",
    '"',
    '"\\U00110000"',
    '"\\UFFFFFFFF"',
    '"\\ud800"',
    '"\\x"',
    '"\\e[31m"',
    "|",
    ">",
    "|9",
    ">-\n",
    "#",
    "%YAML 1.1\n---\n",
    "%YAML 9.9\n---\n",
    "---\n",
    "...\n",
    "<<: *a",
    "<<: {a: 1}",
    "kind: ",
    "extends: ",
    "plugins: ",
    "sweep: ",
    "null",
    "{}",
    "[]",
    "é",
    "\x07",
    "\u2028",
    "\x85",
    "\ufeff",
]

EVERYTHING = """\
name: all
seed: 3
total_steps: 1_000
env: {kind: gym, id: CartPole-v1, num_envs: 2, size: [8, 12], make_kwargs: {sutton_barto_reward: true}}
encoder:
  kind: vit
  dim: 8
  heads: 2
  patch: 4
jepa: {weight: 0.5, horizon: 2, target: {kind: ema, decay: 0.9}, predictor: {kind: mlp, hidden: 8}, projector: {kind: linear}}
regularizers:
  - {kind: variance, weight: 2}
  - kind: vicreg
auxiliary: [{kind: reward_prediction}]
augmentations: [{kind: random_shift}]
algorithm: {kind: ppo, rollout_steps: 8, minibatch_size: 8, hidden: [8]}
optimizer: {lr: 1e-3, max_grad_norm: null}
plugins: []
threads: 1
device: "cpu"
sweep:
  cases: {one: {jepa: null}, two: {}}
  zip: {encoder.dim: [8, 16], encoder.heads: [1, 2]}
  grid: {optimizer.lr: [1e-3, 1e-2]}
  seeds: 2
"""


@cache
def texts() -> list[str]:
    """Recipes to corrupt."""
    from jepakit.recipe import shipped_recipes

    shipped = [re.sub(r"extends: (\w+)\.yaml", r"extends: paper/\1", path.read_text()) for path in shipped_recipes().values()]
    return [EVERYTHING, EVERYTHING, *shipped]


@cache
def trees() -> list[Any]:
    """The same recipes as values."""
    return [yaml.safe_load(text) for text in texts()]


def written(folder: Path, content: str | bytes, name: str = "r.yaml") -> str:
    """Write a file and return its name."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return name


def verb(rng: random.Random, recipe: str) -> list[str]:
    """A verb that loads a recipe and trains nothing."""
    return rng.choice([["show", recipe], ["show", "--origin", recipe], ["show", recipe], ["list", "encoder", "--recipe", recipe]])


def bytes_of_a_recipe(rng: random.Random, folder: Path) -> Input:
    content = rng.choice(texts()).encode()
    for _ in range(rng.choice([1, 1, 2, 4])):
        content = values.bytes_spoiled(rng, content)
    return Input(verb(rng, written(folder, content)), ("r.yaml",))


def tokens_of_a_recipe(rng: random.Random, folder: Path) -> Input:
    tokens = re.findall(r"\s+|\w+|.", rng.choice(texts()))
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(len(tokens))
        new = rng.choice([rng.choice(SCRAPS), rng.choice(tokens), values.text(rng)])
        tokens[at : at + rng.choice([0, 1, 1, 2])] = [new]
    return Input(verb(rng, written(folder, "".join(tokens))), ("r.yaml",))


def tree_of_a_recipe(rng: random.Random, folder: Path) -> Input:
    tree = values.spoiled(rng, rng.choice(trees()))
    return Input(verb(rng, written(folder, as_yaml(rng, tree))), ("r.yaml",))


def as_yaml(rng: random.Random, tree: Any) -> str:
    """A tree as the text of a file."""
    try:
        return json.dumps(tree) if rng.random() < 0.3 else yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    except (RecursionError, ValueError):
        return "[" * 300


def _nested(rng: random.Random) -> str:
    depth = rng.choice([45, 60, 400, 5_000, 100_000])
    opening, closing = rng.choice(
        [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("[{a: ", "}]"), ("!!seq [", "]"), ("&a [", "]"), ("a: [", "]")]
    )
    return f"env: {opening * depth}1{closing * depth if rng.random() < 0.7 else ''}"


def _indented(rng: random.Random) -> str:
    depth = rng.choice([45, 60, 500])
    return "".join(f"{' ' * level}a:\n" for level in range(depth))


def _bomb(rng: random.Random) -> str:
    width, levels = rng.choice([(2, 30), (10, 9), (100, 4), (1, 49)])
    lines = ["x0: &x0 [1]"]
    lines += [f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * width)}]" for level in range(1, levels)]
    if rng.random() < 0.5:
        lines = ["x0: &x0 {kind: vit}"]
        lines += [f"x{n}: &x{n} {{{', '.join(f'k{i}: *x{n - 1}' for i in range(width))}}}" for n in range(1, levels)]
    return "\n".join(lines) + f"\nenv: *x{levels - 1}\n"


def _wide(rng: random.Random) -> str:
    many = rng.choice([200, 5_000, 9_990, 20_000])
    return rng.choice(
        [
            lambda: "".join(f"key_{n}: {n}\n" for n in range(many)),
            lambda: "".join(f"sede{n}: 1\n" for n in range(many)),
            lambda: f"env: {{kind: gym, id: x, {', '.join(f'sise{n}: 1' for n in range(many))}}}",
            lambda: "regularizers: [" + "{kind: varance}, " * many + "]",
            lambda: "regularizers: [" + "{kind: variance, wight: -1}, " * (many // 2) + "]",
            lambda: "env: {kind: gym, id: x, size: [" + "a, " * many + "]}",
            lambda: "env: {kind: gym, id: x, size: [" + "[a], " * (many // 2) + "]}",
            lambda: "algorithm: {hidden: [" + "-1, " * many + "]}",
            lambda: "plugins: [" + "a.py, " * many + "]",
            lambda: "plugins: [" + "{a: 1}, " * (many // 3) + "]",
            lambda: "extends: [" + "r.yaml, " * many + "]",
            lambda: "extends: [" + "cartpole_pixels, " * many + "]",
            lambda: "extends: [" + "cartpole_pixles, " * many + "]",
            lambda: "extends: [" + "3, " * many + "]",
            lambda: "a: 1\n" * many,
            lambda: "a: !!x 1\n" * many,
            lambda: "".join(f"? [{n}]\n: 1\n" for n in range(many // 3)),
            lambda: f"env: {'x' * 40 * many}",
            lambda: f"{'x' * 40 * many}: 1",
            lambda: f"env: {{kind: {'x' * 20 * many}}}",
            lambda: f"encoder: {{kind: vit, {'x' * 20 * many}: 1}}",
            lambda: "# " + "comment " * 4 * many,
            lambda: "\n" * 10 * many + "a: [",
            lambda: "seed: " + " " * 20 * many + "x",
            lambda: "env: " + "&a " * many,
            lambda: "env: " + "a " * many,
            lambda: "env: " + "'" * many,
            lambda: "env: " + "- " * many,
            lambda: "env: " + ": " * many,
            lambda: "env: " + "\\" * many,
            lambda: "env: |\n" + " x\n" * many,
        ]
    )()


def _trap(rng: random.Random) -> str:
    key = values.text(rng)
    number = rng.choice(values.NUMBERS)
    field = rng.choice(
        ["seed", "total_steps", "optimizer.lr", "threads", "checkpoint_every", "collapse_threshold", "keep_checkpoints", "name"]
    )
    block, _, inner = field.partition(".")
    traps = [
        "%YAML 1." + "9" * 5_000 + "\n---\na: 1",
        "%TAG ! tag:x,2000:\n---\nenv: !y 1",
        "%FOO bar\n--- 1",
        'env: "\\U00110000"',
        'env: "\\UFFFFFFFF"',
        'env: "\\x4"',
        f"{json.dumps(key)}: 1",
        f"env: {{kind: {json.dumps(key)}}}",
        f"env: {{kind: gym, id: {json.dumps(key)}, {json.dumps(key)}: 1}}",
        f"regularizers: [{{kind: {json.dumps(key)}}}]",
        f"plugins: [{json.dumps(key)}]",
        f"plugins: {json.dumps(key)}",
        f"extends: {json.dumps(key)}",
        f"extends: [{json.dumps(key)}, {json.dumps(key + '.yaml')}]",
        f"device: {json.dumps(key)}",
        f"{block}: {{{inner}: {number}}}" if inner else f"{field}: {number}",
        f"env: {{kind: gym, id: CartPole-v1, num_envs: {number}}}",
        f"env: {{kind: gym, id: CartPole-v1, make_kwargs: {{x: {number}}}}}",
        f"env: {{kind: gym, id: CartPole-v1, size: [{number}, {number}]}}",
        f"env: {{kind: {number}, id: x}}",
        f"{number}: 1",
        "env: &a {kind: gym, id: x, make_kwargs: {b: *a}}",
        "a: &a [*a, *a]",
        "env: *b",
        "<<: [{a: 1}, {b: 2}]",
        "<<: *x",
        "env: {<<: {kind: gym}, id: x}",
        "env: {kind: gym, kind: gym, id: a, id: b}",
        "? {a: 1}\n: 2",
        "? |\n  a\n: 2",
        "!!map {env: 1}",
        "!!python/object/new:os.system [id]",
        "--- 1\n--- 2",
        "env: 1\n...\nenv: 2",
        "\ufeff\ufeffenv: 1",
        "plugins: [a.py]\nplugins: [b.py]",
        "jepa: {target: {decay: .nan}}",
        "jepa: {target: {kind: [ema]}}",
        "jepa: {target: null, predictor: [], objective: {}}",
        "kind: gym",
        "sweep: {seeds: 3, grid: {a.b: [1], a: [{b: 1}]}}",
    ]
    return rng.choice(traps)


def trap_of_yaml(rng: random.Random, folder: Path) -> Input:
    make = rng.choices([_nested, _indented, _bomb, _wide, _trap], [3, 1, 3, 3, 10])[0]
    text = make(rng)
    if rng.random() < 0.5 and "env:" not in text and not text.startswith(("%", "-", "!")):
        text = "env: {kind: gym, id: CartPole-v1}\n" + text
    return Input(verb(rng, written(folder, text)), ("r.yaml",))


def odd_file(rng: random.Random, folder: Path, name: str) -> str:
    """Put something that is no readable file at ``name``; return ``name``."""
    path = folder / name
    odd: dict[str, Callable[[], Any]] = {
        "fifo": lambda: os.mkfifo(path),
        "folder": lambda: path.mkdir(),
        "loop": lambda: path.symlink_to(path.name),
        "endless": lambda: path.symlink_to("/dev/zero"),
        "random": lambda: path.symlink_to("/dev/urandom"),
        "null": lambda: path.symlink_to("/dev/null"),
        "memory": lambda: path.symlink_to("/proc/self/mem"),
        "itself": lambda: path.symlink_to("/proc/self/fd/0"),
        "nowhere": lambda: path.symlink_to("nowhere"),
        "huge": lambda: _sparse(path),
        "empty": lambda: path.touch(),
        "two": lambda: (path.symlink_to("two"), (folder / "two").symlink_to(path.name)),
        "none": lambda: None,
        "socket": lambda: _socket(path),
    }
    odd[rng.choice(list(odd))]()
    return name


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def _socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as made, contextlib.suppress(OSError):  # the name may be too long for a socket
        made.bind(path.name)


ODD_NAMES = [
    "a\nb.yaml",
    "\x1b[31m.yaml",
    "\udcff.yaml",
    "é.yaml",
    "-.yaml",
    " .yaml",
    "a" * 250 + ".yaml",
    ".yaml",
    "a:b.yaml",
    "r.yaml:1:1: .yaml",
]


def odd_place(rng: random.Random, folder: Path) -> Input:
    """A recipe, its parent or a folder on its path that is not what it should be."""
    name = rng.choice(["r.yaml", "r.yaml", "odd.yaml", *ODD_NAMES])
    shown = ("r.yaml", "odd.yaml", name.encode("unicode_escape").decode(), name, name[:40])
    how = rng.choice(["itself", "extended", "content", "argument", "below"])
    if how == "itself":
        return Input(verb(rng, f"./{odd_file(rng, folder, name)}"), shown)
    if how == "extended":
        written(folder, f"extends: {json.dumps(odd_file(rng, folder, 'odd.yaml'))}\nseed: x\n")
        return Input(verb(rng, "r.yaml"), shown)
    if how == "content":
        written(folder, rng.choice(["seed: x\nenv: 1", "env: [", _trap(rng)]), name)
        return Input(verb(rng, f"./{name}"), shown)
    if how == "below":
        odd_file(rng, folder, "way")
        return Input(verb(rng, "way/r.yaml"), ("way/r.yaml",))
    argument = rng.choice(
        [
            *(text for text in values.TEXTS if not text.startswith("-")),
            "x/" * 3_000,
            "x" * 300,
            "/dev/zero",
            "/proc/self/mem",
            "/dev/tty",
            "/",
        ]
    )
    argument = argument.replace("\0", "")  # no system passes NUL in an argument
    return Input(verb(rng, argument), ("the recipe", "no recipe"))


def extending(rng: random.Random, folder: Path) -> Input:
    """Cycles, long chains and wide trees of recipes."""
    how = rng.choice(["circle", "chain", "wide", "tree", "self", "link", "list", "big"])
    last = rng.choice(["env: {kind: gym, id: CartPole-v1}\n", "seed: x\n", "[", "", "plugins: [~x/y.py]\n"])
    many = rng.choice([2, 5, 19, 20, 21, 60, 300])
    if how in ("circle", "chain"):
        for n in range(many):
            end = n == many - 1
            written(folder, last if end and how == "chain" else f"extends: {(n + 1) % many}.yaml\nseed: {n}\n", f"{n}.yaml")
    elif how == "wide":
        for n in range(many):
            written(folder, last, f"{n}.yaml")
        written(folder, f"extends: [{', '.join(f'{n}.yaml' for n in range(many))}]\n", "0.yaml")
    elif how == "tree":
        levels = rng.choice([4, 25])
        for level in range(levels):
            below = f"{level + 1}.yaml"
            written(folder, f"extends: [{', '.join([below] * rng.choice([2, 10, 500]))}]\n", f"{level}.yaml")
        written(folder, last, f"{levels}.yaml")
    elif how == "self":
        written(
            folder, rng.choice(["extends: 0.yaml", "extends: [0.yaml, 0.yaml]", "extends: ./x/../0.yaml", "extends: link.yaml"]), "0.yaml"
        )
        (folder / "link.yaml").symlink_to("0.yaml")
    elif how == "link":
        (folder / "deep").mkdir()
        (folder / "deep" / "up").symlink_to("..")
        written(folder, f"extends: {'deep/up/' * rng.choice([1, 10, 45, 400])}1.yaml", "0.yaml")
        written(folder, rng.choice([last, "extends: deep/up/0.yaml"]), "1.yaml")
    elif how == "list":
        written(folder, f"extends: {json.dumps(values.value(rng))}\nseed: 1\n", "0.yaml")
    else:
        written(folder, "".join(f"key_{n}: {{a: {n}}}\n" for n in range(4_000)), "1.yaml")
        written(folder, f"extends: [{', '.join(['1.yaml'] * rng.choice([2, 9_000]))}]", "0.yaml")
    return Input(verb(rng, "0.yaml"), ("0.yaml",))


def _an_override(rng: random.Random) -> str:
    path = [str(key) for key in rng.choice(values.paths(trees()[0])[1:])]
    if rng.random() < 0.4:
        path[rng.randrange(len(path))] = rng.choice([values.text(rng), "0", "-1", "99999999999999999999", "٣", "kind", ""])
    if rng.random() < 0.05:
        path = path * rng.choice([10, 100, 5_000])
    written_value = rng.choice(
        [values.text(rng), rng.choice(values.NUMBERS), rng.choice(SCRAPS), json.dumps(values.value(rng)), _trap(rng)]
    )
    equals = rng.choice(["=", "=", "=", "=", "==", "", ":", " = "])
    return f"{'.'.join(path)}{equals}{written_value}".replace("\0", "")


def override(rng: random.Random, folder: Path) -> Input:
    text = rng.choice(texts()) if rng.random() < 0.7 else "env: {kind: gym, id: CartPole-v1}"
    overrides = [_an_override(rng) for _ in range(rng.choice([1, 1, 1, 2, 5]))]
    args = ["show", written(folder, text)]
    for entry in overrides:
        args += ["--set", entry]
    if rng.random() < 0.05:
        args += ["--seed", rng.choice(["-1", "x", "9" * 30, "4294967296", "1.0", "0"])]
    return Input(args, ("r.yaml",))


def sweep(rng: random.Random, folder: Path) -> Input:
    """`ablate --dry-run` on sweeps that are corrupted or absurd."""
    tree = dict(trees()[0])
    big = rng.choice([2, 11, 200, 9_000])
    absurd: list[Any] = [
        {"seeds": rng.choice([0, -1, 10_001, 10**12, 2**63, 10**400, [], ["x"], [-1], [2**32], [0] * 300, True, "3"])},
        {"grid": {f"encoder.x{n}": [1, 2] for n in range(big)}},
        {"grid": {"encoder.dim": list(range(-big, 0))}},
        {"grid": {"encoder.dim": ["x"] * big, "seed": [1]}},
        {"zip": {f"a{n}": [1, 2, 3] for n in range(min(big, 3_000))}},
        {"zip": {"encoder.dim": [1] * big, "encoder.heads": [1]}},
        {"cases": {f"case {n}": {"encoder.dim": 0} for n in range(min(big, 4_000))}},
        {"cases": {"one": {f"encoder.x{n}": 1 for n in range(big)}}},
        {"cases": {values.text(rng): {values.text(rng): values.value(rng)}}},
        {"grid": {values.text(rng): [values.value(rng), values.value(rng)]}},
        {"grid": {".".join(["jepa"] * rng.choice([2, 60, 2_000])): [1]}},
        {"grid": {"jepa": [None], "jepa.weight": [1, 2]}},
        {"grid": {"plugins": [["a.py"]], "extends": ["x"], "sweep": [1], "name": ["a"]}},
        {"cases": {"a": {"jepa.target.kind": "x"}}, "zip": {"encoder": [{"kind": "y"}]}, "grid": {"algorithm.kind": ["z", 3, None]}},
    ]
    tree["sweep"] = rng.choice(absurd) if rng.random() < 0.6 else values.spoiled(rng, tree["sweep"])
    args = ["ablate", "--dry-run", written(folder, as_yaml(rng, tree))]
    if rng.random() < 0.3:
        args += [
            "--over",
            rng.choice([_an_override(rng), f"encoder.dim={'8,' * 50}x", "a=" + "[" * 300, "=", "seed=1,2", "encoder.dim=8\n,x"]),
        ]
    if rng.random() < 0.3:
        args += [
            "--seeds",
            rng.choice(["x", "0", "-3", "1,2,x", ",", "1,", "9" * 30, "9" * 5_000, "²", "4294967296", "1" + ",1" * 20_000, "3"]),
        ]
    if rng.random() < 0.1:
        args += ["--jobs", rng.choice(["0", "x", "-1", "²", "9" * 30, "1"])]
    return Input(args, ("r.yaml", "--seeds", "--jobs"))


def built(rng: random.Random, folder: Path) -> Input:
    """`validate` on recipes whose values are each valid, or nearly, but do not fit together."""
    tree = dict(trees()[0]) | {"sweep": None}
    spots = [
        ("env", "id"),
        ("env", "num_envs"),
        ("env", "frames"),
        ("env", "size"),
        ("env", "make_kwargs"),
        ("env", "max_episode_steps"),
        ("encoder", "dim"),
        ("encoder", "heads"),
        ("encoder", "depth"),
        ("encoder", "patch"),
        ("encoder", "simnorm"),
        ("encoder", "kind"),
        ("jepa", "horizon"),
        ("jepa", "weight"),
        ("algorithm", "rollout_steps"),
        ("algorithm", "minibatch_size"),
        ("algorithm", "hidden"),
        ("algorithm", "epochs"),
        ("algorithm", "kind"),
        ("optimizer", "lr"),
        ("optimizer", "eps"),
    ]
    numbers = [1, 2, 3, 5, 7, 13, 10**4, 10**6, 10**9, 2**31, 2**63 - 1, 2**63, 10**30, 1e-300, 1e300, 1.5]
    lists: list[Any] = [[1, 1], [2, 3], [10**4, 10**4], [10**9, 10**9], [2**62, 2**62], [], [8] * 40, None, {}, {"x": 1}]
    ids = [
        "CartPole-v0",
        "Cartpole-v1",
        "nowhere:CartPole-v1",
        "os:x",
        "json:CartPole-v1",
        "FrozenLake-v1",
        "GymV21Environment-v0",
        "phys2d/CartPole-v1",
        "Blackjack-v1",
        "Taxi-v3",
        "Ant-v5",
        "a/b/c",
        "",
        ":",
        "x:",
        ":x",
        "CartPole",
        "MountainCar-v0",
        "a" * 3_000,
    ]
    for block, field in rng.sample(spots, rng.choice([1, 1, 2])):
        pool: list[Any] = ids if field == "id" else lists if field in ("size", "hidden", "make_kwargs") else [*numbers, values.text(rng)]
        if field == "kind":
            pool = ["nature_cnn", "impala", "drq_cnn", "mlp", "timm", "dqn", "sac", "a2c", "reinforce"]
            tree[block] = {"kind": rng.choice(pool)}
        else:
            tree[block] = dict(tree[block]) | {field: rng.choice(pool)}
    for field in rng.sample(
        ["total_steps", "threads", "device", "precision", "checkpoint_every", "seed", "replay"], rng.choice([0, 0, 1, 2])
    ):
        pool = ["cpu", "cuda", "cuda:0", "cuda:99999999999999999999", "mps", "fp32", "bf16", {"capacity": 2**62}, {"capacity": 1}, *numbers]
        tree[field] = rng.choice(pool)
    args = ["validate", written(folder, as_yaml(rng, tree))]
    return Input([*args, "--no-plugins"] if rng.random() < 0.2 else args, ("r.yaml", "`all`"))


#: Families of inputs, with their shares.
FAMILIES: dict[str, tuple[Callable[[random.Random, Path], Input], int]] = {
    "a recipe's bytes": (bytes_of_a_recipe, 20),
    "a recipe's tokens": (tokens_of_a_recipe, 20),
    "a recipe's tree": (tree_of_a_recipe, 20),
    "YAML's traps": (trap_of_yaml, 12),
    "files that are none": (odd_place, 8),
    "extends": (extending, 5),
    "--set": (override, 20),
    "sweeps": (sweep, 8),
    "validate": (built, 3),
}

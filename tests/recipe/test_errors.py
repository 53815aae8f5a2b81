"""Errors list every mistake at once, each with its place, what was expected and the nearest name."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jepakit.recipe import Problem, RecipeError, load_recipe

Write = Callable[[str, str], Path]
Problems = Callable[..., tuple[Problem, ...]]
ENV = "env: {kind: fake, id: x}\n"


def test_all_mistakes_are_reported_at_once(problems: Problems) -> None:
    text = """\
seed: -1
total_steps: 1e5
regularisers: []
env: {kind: fake, num_envs: "8", size: [1, x]}
encoder: {kind: smal}
jepa: {target: {kind: ema, decay: 1.5, dekay: 1}, horizon: true}
precision: bf1
seed: 2
"""
    found = problems(text, ["optimizer.lr=.nan", "nope", "encoder.dim"])
    heads = sorted(str(problem).splitlines()[0] for problem in found)
    assert heads == [
        "--set #1: `optimizer.lr` cannot be not a number",
        "--set #2: not an override: write `path.to.field=value`",
        "--set #3: not an override: write `path.to.field=value`",
        "r.yaml:1:7: `seed` cannot be `-1`",
        "r.yaml:2:14: `total_steps` cannot be `100000.0`",
        "r.yaml:3:1: unknown field `regularisers`",
        "r.yaml:4:1: `env.id` is missing",
        'r.yaml:4:29: `env.num_envs` cannot be the string "8"',
        'r.yaml:4:44: `env.size.1` cannot be the string "x"',
        "r.yaml:5:17: unknown encoder `smal`",
        "r.yaml:6:35: `jepa.target.decay` cannot be `1.5`",
        "r.yaml:6:40: unknown field `dekay` in `jepa.target`",
        "r.yaml:6:60: `jepa.horizon` cannot be `true`",
        'r.yaml:7:12: `precision` cannot be the string "bf1"',
        "r.yaml:8:1: `seed` is written twice",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("regularisers: []", "unknown field `regularisers`|    regularisers: []|    ^|    did you mean `regularizers`?"),
        ("lr: 1.0", "unknown field `lr`|    lr: 1.0|    ^|    did you mean `optimizer.lr`?"),
        ("jepa: {threads: 2}", "unknown field `threads` in `jepa`|    jepa: {threads: 2}|           ^|    did you mean `threads`?"),
        ("weight: 2", "did you mean `jepa.weight`?"),
        ("collector: {workers: 2}", "|    the fields here are: `kind`; `workers` is a field of the kinds `multi_async`, `multi_sync`"),
        (
            "augmentations: [{kind: shift}]",
            "unknown augmentation `shift`|    augmentations: [{kind: shift}]|                           ^|    did you mean `random_shift`?",
        ),
        ("total_steps: a", 'cannot be the string "a"|    total_steps: a|                 ^|    expected an integer of at least 1'),
        ("total_steps: 1e5", "|    expected an integer of at least 1 (write 100_000)"),
        ("total_steps: '7'", "|    expected an integer of at least 1 (write 7 without quotes)"),
        ("seed: 4294967296", "|    expected an integer of at least 0 and below 4294967296"),
        ("precision: bf1", "|    expected `auto` or `fp32` or `bf16` (did you mean `bf16`?)"),
        ("encoder: {kind: smal}", "unknown encoder `smal`|    encoder: {kind: smal}|                    ^|    did you mean `small`?"),
        ("encoder: {kind: zzz}", "|    its kinds are: `large`, `small`"),
        ("encoder: {kind: 3}", "`kind` must be a name, got `3`"),
        ("encoder: 3", "`encoder` cannot be `3`|    encoder: 3|             ^|    expected a mapping with a `kind`: `large`, `small`"),
        ("encoder: {kind: small, dim: 513}", "|    expected an integer of at least 1 and at most 512"),
        ("jepa: 3", "`jepa` cannot be `3`|    jepa: 3|          ^|    expected a mapping or `null`"),
        ("regularizers: [{threshold: 1}]", "`regularizers.0` cannot be a mapping"),
        ("regularizers: {kind: spread}", "|    expected a list, each a mapping with a `kind`: `spread`, `spread2`"),
        ("regularizers: [{kind: spread, weight: -1}]", "|    expected a number of at least 0"),
        ("regularizers: [{kind: spread}, {kind: spread2}, {kind: spread}]", "`regularizers.2.kind`: the list already has one of this kind"),
        ("total_steps: 4_", 'cannot be the string "4_"|    total_steps: 4_|                 ^|    expected an integer of at least 1'),
        ("threads: 0", "|    expected an integer of at least 1 and at most 1024 or `auto`"),
        ("threads: aut", "(did you mean `auto`?)"),
        ("device: cuda:x", "(did you mean `cuda`?)"),
        ("optimizer: {max_grad_norm: .inf}", "`optimizer.max_grad_norm` cannot be infinity"),
        ("name: a/b", "`name` cannot be"),
    ],
)
def test_a_mistake_is_explained_in_plain_words(problems: Problems, monkeypatch: pytest.MonkeyPatch, line: str, message: str) -> None:
    from jepakit import registry
    from jepakit.registry import table

    for slot, kind in list(table._table):
        if slot in ("encoder", "regularizer") and registry.component(slot, kind).cls.__module__.startswith("jepakit."):
            monkeypatch.delitem(table._table, (slot, kind))
    default = "" if "encoder" in line else "encoder: {kind: small}\n"
    (problem,) = problems(ENV + default + line)
    assert message.replace("|", "\n") in str(problem)
    assert "\n" not in str(problem).partition("\n")[0]
    assert str(problem).startswith(f"r.yaml:{2 + bool(default)}:")


def test_a_mistake_in_the_defaults_of_a_kind_is_reported_where_the_kind_is_chosen(problems: Problems) -> None:
    (problem,) = problems("env: {kind: gym, id: CartPole-v1}\nencoder: {kind: small}\n", ["env={kind: gym_state}"])
    assert str(problem).startswith("--set #1: `env.id` is missing")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("grayscale: yes", "expected `true` or `false` (YAML 1.2 has no yes, no, on or off)"),
        ("grayscale: 1", "expected `true` or `false`"),
        ("limit: no", "expected an integer of at least 1 or `null`"),
        ("size: [1]", "expected a list of 2, each an integer of at least 1"),
        ("size: [1, 2, 3]", "expected a list of 2, each an integer of at least 1"),
        ("widths: [1, atuo]", "expected an integer of at least 1 or `auto` (did you mean `auto`?)"),
        ("depth: [1, x]", "expected an integer of at least 1"),
        ("depth: x", "expected an integer of at least 1 or a list, each an integer of at least 1"),
        ("lax: {count: true}", "expected an integer"),
        ("widths: 3", "expected a list, each an integer of at least 1 or `auto` or `null`"),
        ("extras: 3", "expected a mapping or `null`"),
    ],
)
def test_the_type_of_a_components_field_is_explained_in_plain_words(problems: Problems, line: str, message: str) -> None:
    (problem,) = problems(f"env:\n  kind: fake\n  id: x\n  {line}")
    assert problem.advice == message
    assert str(problem).startswith("r.yaml:4:")


def test_a_misspelled_field_is_not_also_reported_missing(problems: Problems) -> None:
    (problem,) = problems("envv: {kind: fake, id: x}")
    assert problem.advice == "did you mean `env`?"
    (problem,) = problems("seed: 1")
    assert str(problem).startswith("r.yaml:1:1: `env` is missing\n    seed: 1\n    ^\n    expected a mapping with a `kind`: ")
    assert "`fake`" in str(problem)


@pytest.mark.parametrize(
    ("text", "says"), [("", "empty"), ("# only this", "empty"), ("- a", "a mapping of fields"), ("a", "a mapping of fields")]
)
def test_a_file_that_is_no_mapping_is_refused(problems: Problems, text: str, says: str) -> None:
    (problem,) = problems(text)
    assert says in problem.wrong
    assert str(problem).startswith("r.yaml:1:1: ")


def test_an_unknown_recipe_gets_a_suggestion(write: Write) -> None:
    write("my_cartpole.yaml", ENV)
    with pytest.raises(
        RecipeError, match=r"no recipe `my_cartpol.yaml`.*\n.*did you mean `my_cartpole.yaml`.*shipped recipes: .*`cartpole_pixels`"
    ):
        load_recipe("my_cartpol.yaml")
    with pytest.raises(RecipeError, match="did you mean `cartpole_pixels`"):
        load_recipe("cartpol_pixels")


@pytest.mark.parametrize("name", ["", ".", "/", "a\0b", "x" * 5000, "/dev/zero"])
def test_a_path_that_is_no_recipe_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(RecipeError):
        load_recipe(name)


def test_paths_below_the_current_folder_are_relative(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("deep/r.yaml", "seed: x")
    for here, shown in ((tmp_path / "deep", "r.yaml"), (tmp_path, "deep/r.yaml"), (Path("/"), f"{tmp_path}/deep/r.yaml"[1:])):
        monkeypatch.chdir(here)
        with pytest.raises(RecipeError, match=rf"(?m)^{shown}:1:7: "):
            load_recipe(tmp_path / "deep/r.yaml")


def test_a_long_line_is_shortened_around_the_caret(problems: Problems) -> None:
    (problem,) = problems(ENV + f"encoder: {{kind: small, {' ' * 500}dim: {'9' * 400}}}")
    _, quoted, pointer, *_ = str(problem).splitlines()
    assert quoted[pointer.index("^")] == "9"
    assert len(quoted) < 140


@pytest.mark.parametrize("name", ["a\\nb", "\\e[31m", "\\u202eb", "\\x9b", "x" * 100_000])
@pytest.mark.parametrize(
    "text",
    [
        '"{}": 1',
        'env: {{kind: fake, id: x, "{}": 1}}',
        'encoder: {{kind: "{}"}}',
        'name: "{}"',
        'extends: "{}"',
        'plugins: ["./{}"]',
        'jepa: {{"{}": {{"{}": 1}}}}',
        '"{}": 1\n"{}": 1',
    ],
)
def test_names_are_escaped_and_shortened_in_messages(problems: Problems, text: str, name: str) -> None:
    found = problems(text.format(*[name] * text.count("{}")))
    message = str(RecipeError(found))
    assert all(char.isprintable() or char == "\n" for char in message)
    assert all(re.match(r"r.yaml:\d+:\d+: |    ", line) for line in message.splitlines())
    assert all(len(line) < 700 for line in message.splitlines())


def test_a_message_lists_at_most_fifty_mistakes(problems: Problems) -> None:
    found = problems("".join(f"key_{n}: {n}\n" for n in range(3_000)))
    assert len(found) == 3_001
    message = str(RecipeError(found))
    assert message.count("r.yaml:") == 50
    assert message.endswith("\nand 2,951 more mistakes")


def test_recipe_error_points_at_the_value(write: Write) -> None:
    recipe = load_recipe(write("r.yaml", ENV + "encoder:\n  kind: small\n  dim: 3\n"), ["regularizers=[{kind: spread}]"])
    assert str(recipe.error("encoder.dim", "3 is odd", "try 4")) == "r.yaml:4:8: 3 is odd\n      dim: 3\n           ^\n    try 4"
    assert str(recipe.error("encoder.scaling", "bad")).startswith("r.yaml:2:1: bad")
    assert str(recipe.error("regularizers.0.weight", "bad")).startswith("--set #1: bad")
    assert str(recipe.model_copy(update={"seed": 3}).error("encoder.dim", "x")).startswith("r.yaml:4:8: x")
    assert str(copy.deepcopy(recipe).locate("encoder.dim")) == "r.yaml:4:8"
    assert ([str(place) for place in recipe.origins("encoder.dim")], recipe.origins("encoder.scaling")) == (["r.yaml:4:8"], [])


GOOD = """\
name: all
seed: 3
total_steps: 1_000
env: {kind: fake, id: x, size: [3, 4], extras: {a: [1, {b: null}]}}
encoder:
  kind: small
  dim: 32
jepa: {weight: 0.5, target: {kind: ema, decay: 0.9}, predictor: {kind: mlp}}
regularizers:
  - {kind: spread, weight: 2}
  - kind: spread2
optimizer: {lr: 1e-3, max_grad_norm: null}
threads: auto
device: "cuda:1"
"""


@pytest.mark.parametrize("seed", range(8))
def test_mutated_recipes_load_or_are_refused_with_a_location(write: Write, seed: int) -> None:
    rng = random.Random(seed)
    scraps = [
        *GOOD.split(),
        "\t",
        "\n",
        "  ",
        "[",
        "}",
        ": ",
        "- ",
        "&a ",
        "*a",
        "!!x ",
        "'",
        '"',
        "1e999",
        "-0",
        ".nan",
        "{}",
        "[]",
        "null",
        "\x07",
        "é",
        "kind: ",
    ]
    for _ in range(40):
        text = GOOD
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(text))
            text = text[:start] + rng.choice(scraps) + text[start + rng.choice((0, 0, 1, 5)) :]
        path = [
            rng.choice(["env", "encoder", "jepa", "regularizers", "0", "dim", "kind", "seed", "target"]) for _ in range(rng.randint(1, 3))
        ]
        overrides = [f"{'.'.join(path)}={rng.choice(scraps)}"] if rng.random() < 0.5 else []
        try:
            load_recipe(write("r.yaml", text), overrides)
        except RecipeError as error:
            assert all(problem.place for problem in error.problems)  # noqa: PT017
            assert str(error)  # noqa: PT017

"""Runs are grouped by what determines their results, and labelled with what differs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jepakit.report.labels import called, group

if TYPE_CHECKING:
    from jepakit.report.runs import Run
    from tests.report.conftest import MakeRun

VARIANCE = {"kind": "variance", "weight": 1.0}
NO_GRADIENTS = {"algorithm.gradients_to_encoder": False}


def labels(make_run: MakeRun, *changes: dict[str, Any]) -> list[str]:
    """Each configuration's label, in the order of ``changes``."""
    runs = [make_run(change) for change in changes]
    found = {run.id: each.label for each in group(runs) for run in each.runs}
    return [found[run.id] for run in runs]


def test_runs_that_differ_only_in_seed_and_names_are_one_configuration(make_run: MakeRun) -> None:
    apart = [{}, {"name": "other"}, {"checkpoint_every": 1}, {"plugins": ["a.py"]}, {"sweep": {"grid": {"encoder.dim": [1]}}}]
    runs = [make_run(change, seed=5 - index) for index, change in enumerate(apart)]
    (configuration,) = group(runs)
    assert [run.seed for run in configuration.runs] == [1, 2, 3, 4, 5]
    assert configuration.label == "made_up"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{}, {"jepa": None}], ["jepa", "jepa=null"]),
        ([{}, {"encoder.patch": 40}, {"encoder.dim": 32}], ["made_up", "patch=40", "dim=32"]),
        ([{"encoder.dim": dim} for dim in (128, 64, 32)], ["dim=128", "dim=64", "dim=32"]),
        (  # the paper's four configurations
            [{}, {"jepa": None}, NO_GRADIENTS, NO_GRADIENTS | {"regularizers": [VARIANCE]}],
            [
                "gradients_to_encoder=true",
                "gradients_to_encoder=true, jepa=null",
                "gradients_to_encoder=false",
                "gradients_to_encoder=false, regularizers=[variance]",
            ],
        ),
        # a field name that occurs in several blocks is prefixed with its block
        ([{"jepa.predictor.hidden": 64}, {}], ["predictor.hidden=64", "predictor.hidden=256"]),
        ([{"jepa.weight": 2.0}, {}], ["weight=2.0", "weight=1.0"]),
        ([{"jepa.weight": 2.0, "regularizers": [VARIANCE]}, {"regularizers": [VARIANCE]}], ["jepa.weight=2.0", "jepa.weight=1.0"]),
        # components are named by kind if that differs, and otherwise by their fields
        ([{"encoder": {"kind": "cnn", "width": 4, "depth": 9}}, {}], ["encoder=cnn", "encoder=vit"]),
        ([{"encoder": {"kind": "cnn"}}, {}, {"encoder.patch": 40}], ["encoder=cnn", "patch=20", "patch=40"]),
        ([{"jepa.target": {"kind": "frozen"}}, {"jepa.target.decay": 0.9}, {}], ["target=frozen", "decay=0.9", "decay=0.99"]),
        ([{"regularizers": [VARIANCE]}, {"regularizers": [VARIANCE | {"weight": 0.5}]}], ["variance.weight=1.0", "variance.weight=0.5"]),
        ([{"regularizers": [{"kind": "vicreg"}, VARIANCE]}, {}], ["regularizers=[vicreg, variance]", "regularizers=[]"]),
        ([{"env.size": [40, 60]}, {}, {}], ["size=[40, 60]", "size=[80, 120]", "size=[80, 120]"]),
        ([{"env.id": "Acrobot-v1"}, {"env.id": "MountainCar-v0"}], ["id=Acrobot-v1", "id=MountainCar-v0"]),
    ],
)
def test_labels_name_only_what_differs(make_run: MakeRun, changes: list[dict[str, Any]], expected: list[str]) -> None:
    assert labels(make_run, *changes) == expected
    assert labels(make_run, *reversed(changes)) == expected[::-1]


def test_runs_extended_from_the_same_steps_are_one_configuration(make_run: MakeRun) -> None:
    runs = [make_run({"parent": f"{seed:010}@{steps}"}, seed=seed) for steps in (500, 900) for seed in (0, 1)]
    configurations = group([*runs, make_run({"parent": None})])
    assert [(each.label, [run.seed for run in each.runs]) for each in configurations] == [
        ("parent=any@500", [0, 1]),
        ("parent=any@900", [0, 1]),
        ("parent=null", [0]),
    ]
    assert called([run.recipe for run in runs]) == ["parent=any@500"] * 2 + ["parent=any@900"] * 2


def test_components_of_one_kind_are_labelled_by_position(make_run: MakeRun) -> None:
    def shifts(*pads: int) -> dict[str, Any]:
        return {"augmentations": [{"kind": "random_shift", "pad": pad} for pad in pads]}

    assert labels(make_run, shifts(1, 2), shifts(2, 2), shifts(2, 2) | {"encoder.dim": 8}) == ["random_shift#1.pad=1", "made_up", "dim=8"]


def test_runs_with_different_plugin_code_are_different_configurations(make_run: MakeRun) -> None:
    runs = [replace(make_run(seed=seed), id=f"{seed}{code}", provenance={"sources": code}) for seed in (0, 1) for code in (["a"], ["b"])]
    first, second = group(runs)
    assert [run.seed for run in first.runs] == [run.seed for run in second.runs] == [0, 1]
    assert first.label.startswith("code=")
    assert first.label != second.label
    (alike,) = group([make_run(seed=0), replace(make_run(seed=1), provenance={"sources": []})])
    assert alike.label == "made_up"


def test_runs_of_one_case_may_begin_with_different_weights(make_run: MakeRun) -> None:
    def begun(seed: int, weights: str, case: str | None, code: str = "a") -> Run:
        changes = {"encoder.checkpoint": f"weights/encoder.checkpoint/{weights}@500.safetensors", "case": case}
        provenance = {"sources": [code, weights], "weights_sha256": [weights]}
        return replace(make_run(changes, seed=seed), id=f"{case}{seed}{weights}{code}", provenance=provenance)

    def found(*runs: Run) -> list[tuple[str, list[int]]]:
        return [(each.label, [run.seed for run in each.runs]) for each in group(runs)]

    runs = [begun(seed, f"{case}{seed}", case) for case in ("JEPA", "VICReg") for seed in (0, 1)]
    assert found(*runs) == [("JEPA", [0, 1]), ("VICReg", [0, 1])]
    assert called([run.recipe for run in runs]) == ["JEPA", "JEPA", "VICReg", "VICReg"]
    assert [seeds for _, seeds in found(begun(0, "x", "JEPA"), begun(1, "y", "JEPA", code="b"))] == [[0], [1]], "other plug-ins"
    assert [seeds for _, seeds in found(begun(0, "x", None), begun(1, "y", None))] == [[0], [1]]
    trained_anew = [begun(seed, weights, "JEPA") for seed in (0, 1) for weights in ("before", "after")]
    assert found(*trained_anew) == [("JEPA, weights=after", [0, 1]), ("JEPA, weights=before", [0, 1])], "no seed counts twice"
    assert found(*runs[:2], begun(0, "anew", "JEPA")) == [("JEPA", [0, 0, 1])], "each seed has weights of its own"


def test_configurations_are_sorted_numerically(make_run: MakeRun) -> None:
    runs = [make_run({"optimizer": {"lr": lr}}) for lr in (1e-3, 3e-05, 1e-05, 0.01)]
    assert [each.label for each in group(runs)] == ["lr=1e-05", "lr=3e-05", "lr=0.001", "lr=0.01"]
    runs = [make_run({"encoder.dim": dim}) for dim in (128, 32, 64, 8)]
    assert [each.label for each in group(runs)] == ["dim=8", "dim=32", "dim=64", "dim=128"]


def test_a_field_missing_from_an_old_recipe_has_its_default(make_run: MakeRun) -> None:
    old, new, other = make_run(), make_run({"encoder.scaling": "inverted"}, seed=1), make_run({"encoder.scaling": "unit"})
    assert {each.label: len(each.runs) for each in group([old, new, other])} == {"scaling=inverted": 2, "scaling=unit": 1}
    mine = {"kind": "no_longer_at_hand", "dim": 64}
    runs = [make_run({"encoder": mine}), make_run({"encoder": mine | {"extra": 1}})]
    assert [each.label for each in group(runs)] == ["extra unset", "extra=1"]


def test_a_sweeps_case_is_the_label(make_run: MakeRun) -> None:
    runs = [make_run({"jepa": None, "case": "baseline"}), make_run({"case": "with JEPA"}), make_run({"seed": 1, "case": "with JEPA"})]
    assert [configuration.label for configuration in group(runs)] == ["baseline", "with JEPA"]
    runs = [make_run({"total_steps": 7, "case": "same"}), make_run({"total_steps": 8, "case": "same"})]
    assert [configuration.label for configuration in group(runs)] == ["same, total_steps=7", "same, total_steps=8"]
    tasks = [{"env.id": "Acrobot-v1"}, {"env.id": "CartPole-v1"}]
    runs = [make_run(case | task) for case in ({"case": "with"}, {"case": "without", "jepa": None}) for task in tasks]
    expected = [f"{case}, id={task['env.id']}" for case in ("with", "without") for task in tasks]
    assert [configuration.label for configuration in group(runs)] == expected, "what the case says is not said again"
    assert called([run.recipe for run in runs]) == expected
    runs = [make_run(), make_run({"seed": 1, "case": "here"}), make_run({"total_steps": 7})]  # seed 0 ran before the sweep
    assert [configuration.label for configuration in group(runs)] == ["here", "total_steps=7"]
    assert called([run.recipe for run in runs]) == ["here", "here", "total_steps=7"]
    runs = [make_run({"case": "one"}), make_run({"seed": 1, "case": "another"})]  # one configuration of two sweeps
    assert len(group(runs)) == 1

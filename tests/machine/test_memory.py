from pathlib import Path

import pytest

from jepakit.machine import memory
from jepakit.machine.hardware import Hardware
from jepakit.machine.memory import free_memory, in_words
from jepakit.recipe import RecipeError, load_recipe
from jepakit.training.build import build_env
from jepakit.training.rehearsal import rehearse


@pytest.mark.parametrize(
    ("limit", "used", "free"), [("max", "5", 2048_000), ("3000000", "1000000", 2_000_000), ("10", "20", 0), (None, None, 2048_000)]
)
def test_free_memory_is_the_smaller_of_the_machines_and_the_cgroups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, used: str | None, free: int
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:  2000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
    assert free_memory() == free
    (tmp_path / "meminfo").unlink()
    assert free_memory() is None


def test_sizes_are_written_with_their_unit() -> None:
    assert [in_words(size) for size in (12, 1500, 706e6, 1.25e10, 3e15)] == ["12 B", "1.5 kB", "706 MB", "12.5 GB", "3e+03 TB"]


def test_a_replay_that_does_not_fit_is_refused_before_the_run(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "env: {kind: gym_state, id: CartPole-v1, num_envs: 2}\nencoder: {kind: mlp}\nalgorithm: {kind: dqn}\n"
        "replay: {capacity: 1_000_000_000_000}\n"
    )
    recipe = load_recipe(file)
    env = build_env(recipe)
    with pytest.raises(RecipeError, match=r"recipe.yaml:4:20: replay of 1,000,000,000,000 env steps takes .* TB, but") as caught:
        rehearse(recipe, env, Hardware("cpu", "fp32", 1))
    assert "memory_map" in str(caught.value)
    env.close()

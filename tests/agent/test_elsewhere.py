"""A trained agent is evaluated in an env in which it was not trained."""

import json
from pathlib import Path

import pytest

from jepakit import UserError, run
from jepakit.agent.evaluate import evaluate
from jepakit.agent.trained import opened
from jepakit.cli.eval import command
from jepakit.recipe import load_recipe

SMALL = ["total_steps=200", "env.num_envs=2", "algorithm.rollout_steps=50", "algorithm.epochs=1", "threads=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run("cartpole_pixels", overrides=SMALL, out=tmp_path_factory.mktemp("run"), quiet=True).path


def test_evaluation_runs_the_agent_in_a_changed_env(trained: Path) -> None:
    short = evaluate(trained, 3, overrides=["env.max_episode_steps=5"])
    assert short["sampled"]["lengths"] == [5, 5, 5]
    assert short["overrides"] == ["env.max_episode_steps=5"]
    noisy = {"distractions": [{"kind": "noise"}]}
    assert evaluate(trained, 3, overrides=noisy) == evaluate(trained, 3, overrides=noisy)
    with opened(trained, best=False, trust=False, warn=print, overrides=noisy) as elsewhere:
        background = elsewhere.env.reset()["pixels"][:, :, :, 0]  # the top row of each frame, which Cart Pole leaves white
    assert background.float().std() > 60


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("encoder.dim=32", "--set encoder"),
        ("seed=3", "--set seed"),
        ("env.size=[80, 80]", "encoder"),
        ("env.nonsense=1", "nonsense"),
        ("env.size=[4, 4]", r"recipe\.yaml:\d+:\d+: patch"),
    ],
)
def test_overriding_what_was_trained_is_an_error(trained: Path, change: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        evaluate(trained, 1, overrides=[change])


@pytest.mark.filterwarnings("error:.*Overriding environment")
def test_an_agent_with_parts_of_a_plug_in_file_runs_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import gymnasium\nfrom jepakit import register\nfrom jepakit.components.encoders.vit import ViT\n"
        "gymnasium.register('Mine-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n\n"
        "@register('encoder', 'mine')\nclass Mine(ViT):\n    pass\n"
    )
    own = [f"plugins=[{tmp_path / 'mine.py'}]", "encoder.kind=mine", "env.id=Mine-v0"]
    folder = run("cartpole_pixels", overrides=[*SMALL, *own], out=tmp_path / "run", quiet=True).path
    assert evaluate(folder, 2, overrides=["env.max_episode_steps=5"], trust=True)["sampled"]["lengths"] == [5, 5]
    with pytest.raises(UserError, match="--set encoder: only"):
        evaluate(folder, 2, overrides=["encoder.dim=32"], trust=True)


def test_a_result_that_cannot_be_printed_is_written(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jepakit.cli.output.emit", full)
    with pytest.raises(OSError, match="No space"):
        command(trained, episodes=2, seed=5)
    assert json.loads((trained / "eval.json").read_text())["seed"] == 5


def test_each_changed_env_gets_its_own_eval_file(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for change in (None, ["env.max_episode_steps=7"], ["distractions=[{kind: video}]"]):
        command(trained, episodes=1, overrides=change)
    told = capsys.readouterr().out
    written = sorted(trained.glob("eval*.json"))
    assert len(written) == 3
    assert str(next(path for path in written if "video" in path.read_text())) in told
    assert "overrides" not in json.loads((trained / "eval.json").read_text())


def test_the_episodes_with_which_training_began_are_no_held_out_ones(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(trained, episodes=2, seed=7)
    before = (trained / "eval.json").read_text()
    own = load_recipe(trained / "recipe.yaml").seed
    command(trained, episodes=1, seed=own)
    assert f"warning: seed {own} is the run's own: training began with these episodes" in capsys.readouterr().err
    assert (trained / "eval.json").read_text() == before


def test_small_returns_are_shown_in_full(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    played = {"mean": 0.8981, "ci95": 0.0123, "returns": [0.5, 0.9613], "lengths": [3, 4]}
    found = {"env_steps": 200, "seed": 1, "episodes": 2, "greedy": played, "sampled": played | {"mean": 123.456, "ci95": 4.56}}
    monkeypatch.setattr("jepakit.agent.evaluate.evaluate", lambda *_, **__: found)
    command(trained, episodes=2)
    out = capsys.readouterr().out
    assert "0.898 ± 0.012" in out
    assert "123.5 ± 4.6" in out

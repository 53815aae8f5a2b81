"""A run from recipe to folder: its files, its bitwise reproducibility, how it ends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import jepakit
from jepakit.agent.evaluate import evaluate
from jepakit.components.envs.gym import GymEnv
from jepakit.errors import UserError
from jepakit.recipe import load_recipe, recipe_id
from jepakit.training.run import run
from tests.forked import ForkedRun

SMALL = """
name: small
total_steps: 96
env: {kind: gym, id: CartPole-v1, num_envs: 2, size: [16, 24]}
encoder: {kind: vit, dim: 8, depth: 1, heads: 2, patch: 8}
algorithm: {kind: ppo, rollout_steps: 16, epochs: 2, minibatch_size: 16}
device: cpu
precision: fp32
threads: 1
"""
CONFIGURATIONS = {
    "baseline": ["jepa=null"],
    "J+∇": [],
    "J alone": ["algorithm.gradients_to_encoder=false"],
    "J+R": ["algorithm.gradients_to_encoder=false", "regularizers=[{kind: variance}]"],
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def records(folder: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def timeless(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "wall_s" and not k.startswith("time/")} for record in records(folder)]


def weights(folder: Path) -> bytes:
    return sorted((folder / "checkpoints").glob("[0-9]*"))[-1].joinpath("weights.safetensors").read_bytes()


@pytest.mark.parametrize("overrides", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_papers_four_configurations_need_only_overrides(recipe: Path, tmp_path: Path, overrides: list[str]) -> None:
    result = run(recipe, overrides=overrides, out=tmp_path / "out", quiet=True)
    assert result.summary["status"] == "finished"
    assert result.summary["env_steps"] == 96
    (last,) = [record for record in records(tmp_path / "out") if record["phase"] == "train"][-1:]
    assert last["updates"] == 3 * 2 * 2  # batches · epochs · minibatches
    assert ("loss/jepa" in last) == (overrides != ["jepa=null"])
    assert ("loss/regularizer/variance" in last) == ("regularizers=[{kind: variance}]" in overrides)
    assert {"loss/actor", "loss/critic", "loss/entropy", "embedding/variance", "embedding/rank"} <= last.keys()


def test_the_same_recipe_and_seed_give_the_same_run_bit_for_bit(recipe: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(recipe, seed=seed, out=tmp_path / name, quiet=True)
    assert timeless(tmp_path / "a") == timeless(tmp_path / "b")
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert timeless(tmp_path / "a") != timeless(tmp_path / "c")


def test_the_recipe_in_a_run_folder_gives_the_same_run(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a plug-in: the run keeps a copy, so the original may be gone."""
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import torch\nfrom torch import nn\nfrom jepakit import register\n\n"
        "@register('encoder', 'mine')\nclass Mine(nn.Module):\n"
        "    def __init__(self, frames, *, width: int = 4):\n"
        "        super().__init__()\n        self.linear = nn.LazyLinear(width)\n"
        "    def forward(self, pixels):\n        return self.linear(pixels.flatten(-4).float() / 255)\n"
    )
    overrides = ["plugins=[./mine.py]", "encoder.kind=mine"]
    monkeypatch.chdir(tmp_path)
    run(recipe, overrides=overrides, out="a", quiet=True)
    plugin.unlink()
    run(tmp_path / "a" / "recipe.yaml", out=tmp_path / "b", quiet=True)
    assert timeless(tmp_path / "a") == timeless(tmp_path / "b")
    ids = [recipe_id(load_recipe(tmp_path / name / "recipe.yaml")) for name in ("a", "b")]
    assert ids[0] == ids[1]


def test_episode_records_add_up(recipe: Path, tmp_path: Path) -> None:
    result = run(recipe, out=tmp_path / "out", quiet=True)
    all_records = records(tmp_path / "out")
    episodes = [record for record in all_records if record["phase"] == "episode"]
    assert len(episodes) == result.summary["episodes"] > 0
    assert all(record["episode_return"] == record["episode_length"] for record in episodes)  # CartPole pays 1 a step
    assert sum(record["episode_length"] for record in episodes) <= 96
    steps = [record["env_steps"] for record in all_records]
    assert steps == sorted(steps)
    assert result.summary["return_last_100"] == pytest.approx(sum(r["episode_return"] for r in episodes) / len(episodes))
    curve = [record["return_last_100"] for record in all_records if record["phase"] == "train" and record["return_last_100"] is not None]
    assert result.summary["return_auc"] == pytest.approx(sum(curve) / len(curve))


def test_a_finished_run_is_not_repeated_and_an_unfinished_one_is_refused(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = run(recipe, quiet=True)
    assert first.fresh
    assert first.path.parent == Path("runs/small")
    before = sorted((path, path.stat().st_mtime_ns) for path in first.path.rglob("*"))
    again = run(recipe, quiet=True)
    assert (again.fresh, again.path, again.summary) == (False, first.path, first.summary)
    assert sorted((path, path.stat().st_mtime_ns) for path in first.path.rglob("*")) == before
    told = json.loads((first.path / "provenance.json").read_text())
    (first.path / "provenance.json").write_text(json.dumps(told | {"ranks": 2}))
    with pytest.raises(UserError, match="trained on 2 ranks, not on 1, and results depend on their number"):
        run(recipe, quiet=True)
    (first.path / "summary.json").unlink()
    with pytest.raises(UserError, match=r"unfinished.*--out DIR"):
        run(recipe, quiet=True)


def test_out_must_be_a_new_or_empty_folder(recipe: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"taken is not empty"):
        run(recipe, out=taken, quiet=True)
    assert [path.name for path in taken.iterdir()] == ["thesis.tex"]
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match=r"file is a file"):
        run(recipe, out=blocked, quiet=True)
    with pytest.raises(UserError, match=r"can't write"):
        run(recipe, out=blocked / "run", quiet=True)


def ppo_with(folder: Path, methods: str) -> list[str]:
    """The overrides that choose a plug-in's algorithm: PPO with these methods replaced."""
    (folder / "theirs.py").write_text(
        "from jepakit import register\nfrom jepakit.components.algorithms.ppo import PPO\n\n"
        f"@register('algorithm', 'theirs')\nclass Theirs(PPO):\n{methods}"
    )
    return [f"plugins=[{folder / 'theirs.py'}]", "algorithm.kind=theirs"]


DQN = "algorithm={kind: dqn, minibatch_size: 8, learning_starts: 48, rollout_steps: 1}"


def test_one_env_with_one_step_per_batch_trains_normally(recipe: Path, tmp_path: Path) -> None:
    """A batch of one row has no variance, and the first frames of an episode all look the same."""
    overrides = [DQN, "env.num_envs=1", "on_collapse=stop", "replay.capacity=100"]
    result = run(recipe, overrides=overrides, out=tmp_path / "out", quiet=True)
    assert result.summary["status"] == "finished"
    rows = [record for record in records(tmp_path / "out") if record["phase"] == "train"]
    assert len(rows) == 96
    for row in rows:
        figures = [row[f"embedding/{name}"] for name in ("variance", "mean_square")]
        if row["env_steps"] < 32:  # 4 · D
            assert [*figures, row["embedding/rank"]] == [None] * 3
        else:
            assert all(isinstance(value, float) for value in (*figures, row["embedding/rank"]))
    assert result.summary["embedding_variance"] > 0


@pytest.mark.parametrize("algorithm", ["dqn", "sac", "ppo", "a2c", "reinforce"])
def test_a_minibatch_of_one_row_is_refused(recipe: Path, algorithm: str) -> None:
    with pytest.raises(UserError, match=r"minibatch_size.* cannot be `1`"):
        load_recipe(recipe, overrides=[f"algorithm={{kind: {algorithm}, minibatch_size: 1}}"])


def test_a_minibatch_of_one_row_is_refused_in_a_plugins_algorithm(recipe: Path, tmp_path: Path) -> None:
    overrides = ppo_with(
        tmp_path,
        "    def __init__(self, embedding_width, action_spec):\n        super().__init__(embedding_width, action_spec)\n"
        "        self.minibatch_size = 1\n",
    )
    with pytest.raises(UserError, match="its minibatch_size is 1; a single row has no variance"):
        run(recipe, overrides=overrides, out=tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_component_may_log_values_that_are_not_finite(recipe: Path, tmp_path: Path) -> None:
    overrides = ppo_with(
        tmp_path,
        "    def losses(self, minibatch):\n        terms, figures = super().losses(minibatch)\n"
        "        return terms, figures | {'odd/ratio': figures['ppo/kl'] / 0}\n",
    )
    assert run(recipe, overrides=overrides, out=tmp_path / "out", quiet=True).summary["status"] == "finished"
    assert {record["odd/ratio"] for record in records(tmp_path / "out") if record["phase"] == "train"} == {None}


def test_load_encoder_returns_the_trained_encoder(recipe: Path, tmp_path: Path) -> None:
    run(recipe, overrides=["encoder.simnorm=4"], out=tmp_path / "out", quiet=True)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    encoder = jepakit.load_encoder(tmp_path / "out")
    assert torch.equal(torch.rand(3), expected), "no random number was drawn"
    saved = load_file(max((tmp_path / "out" / "checkpoints").iterdir()) / "weights.safetensors")
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, saved[f"encoder.{name}"])
    s_x = encoder(torch.randint(0, 256, (2, 5, 3, 1, 16, 24), dtype=torch.uint8))
    assert s_x.shape == (2, 5, 8)
    torch.testing.assert_close(s_x.unflatten(-1, (2, 4)).sum(dim=-1), torch.ones(2, 5, 2))  # the recipe's simnorm is included
    with pytest.raises(UserError, match="not a run's folder"):
        jepakit.load_encoder(tmp_path)


def test_a_failed_run_saves_its_traceback_and_its_status(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jepakit.training.loop import Loop

    def burn(*_: object) -> None:
        raise RuntimeError("the machine is on fire")

    monkeypatch.setattr(Loop, "_record_batch", burn)
    with pytest.raises(RuntimeError, match="on fire") as caught:
        run(recipe, out=tmp_path / "out", quiet=True)
    assert "on fire" in (tmp_path / "out" / "traceback.txt").read_text()
    assert str(tmp_path / "out" / "traceback.txt") in caught.value.__notes__[0]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["status"] == "failed"
    assert records(tmp_path / "out", "events.jsonl")[-1]["event"] == "failed"


def test_a_run_with_losses_that_are_not_finite_names_the_term_and_the_checkpoint(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "from torch import nn\nfrom jepakit import register\n\n"
        "@register('regularizer', 'bad')\nclass Bad(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.calls = 0\n"
        "    def forward(self, s_x):\n        self.calls += 1\n        return s_x.mean() / (self.calls < 20)\n"
    )
    overrides = [f"plugins=[{tmp_path / 'bad.py'}]", "regularizers=[{kind: bad}]", "checkpoint_every=16", "total_steps=2000"]
    with pytest.raises(FloatingPointError, match=r"not finite in 10 updates in a row, first loss/regularizer/bad \(update") as caught:
        run(recipe, overrides=overrides, out=tmp_path / "out", quiet=True)
    last = max((tmp_path / "out" / "checkpoints").iterdir())
    go_on = f"jepakit resume {tmp_path / 'out'} --trust"
    assert caught.value.__notes__[0] == f"last checkpoint: {last}; once the cause is fixed, resume with: {go_on}"
    assert any(record.get("updates_skipped") for record in records(tmp_path / "out"))


def test_a_failure_before_the_first_step_writes_a_summary(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jepakit.storage.folder import RunFolder

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_recipe", full)
    monkeypatch.setattr(RunFolder, "wall_s", 0.0)  # as it is within the first millisecond
    with pytest.raises(OSError, match="No space left"):
        run(recipe, out=tmp_path / "out", quiet=True)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["status"], summary["env_steps"], summary["return_last_100"]) == ("failed", 0, None)


def test_a_run_that_fails_before_it_has_begun_leaves_no_folder(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(GymEnv, "restores_exactly", lambda _: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                run(recipe, quiet=True)
    assert not list(Path("runs/small").iterdir())
    assert run(recipe, quiet=True).fresh


def test_overrides_apply_to_a_recipe_object(recipe: Path, tmp_path: Path) -> None:
    for number, beside in enumerate(({"overrides": ["seed=1"]}, {"overrides": {"seed": 1}}, {"seed": 1})):
        run(load_recipe(recipe), out=tmp_path / str(number), quiet=True, **beside)
        assert load_recipe(tmp_path / str(number) / "recipe.yaml").seed == 1


def test_a_batch_smaller_than_a_minibatch_is_refused(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--set #1: minibatch_size 64 is more than a collected batch holds: 32 env steps"):
        run(recipe, overrides=["algorithm.minibatch_size=64"], out=tmp_path / "out", quiet=True)


@pytest.mark.parametrize(("algorithm", "updates"), [({"minibatch_size": None}, 3 * 2), ({"kind": "a2c"}, 10)])
def test_a_minibatch_may_be_the_whole_batch(recipe: Path, tmp_path: Path, algorithm: dict[str, Any], updates: int) -> None:
    result = run(recipe, overrides={"algorithm": algorithm}, out=tmp_path / "out", quiet=True)
    assert result.summary["updates"] == updates


def test_a_whole_batch_of_one_row_is_refused(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the minibatch is the whole collected batch, a single row"):
        run(recipe, overrides=["env.num_envs=1", "algorithm={kind: a2c, rollout_steps: 1}"], out=tmp_path / "out", quiet=True)


def test_a_horizon_beyond_the_rollout_is_refused(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--set #1: a horizon of 17 reaches beyond the 16 steps of a rollout"):
        run(recipe, overrides=["jepa.horizon=17"], out=tmp_path / "out", quiet=True)


def test_a_longer_horizon_needs_only_its_field(recipe: Path, tmp_path: Path) -> None:
    result = run(recipe, overrides=["jepa.horizon=3"], out=tmp_path / "out", quiet=True)
    assert result.summary["status"] == "finished"


def test_an_env_that_lacks_what_a_run_needs_is_refused(recipe: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "bare.py"
    plugin.write_text(
        "from jepakit import register\nfrom jepakit.components.envs.gym import GymEnv\n\n"
        "@register('env', 'bare')\nclass Bare(GymEnv):\n"
        "    def __init__(self, seed):\n        super().__init__(seed, id='CartPole-v1', num_envs=2)\n"
        "        del self.observation_spec['episode_return']\n"
    )
    with pytest.raises(UserError, match=r"its observations lack episode_return"):
        run(recipe, overrides=[f"plugins=[{plugin}]", "env={kind: bare}"], out=tmp_path / "out", quiet=True)


def test_a_collapse_is_reported_and_stops_the_run_if_asked(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["collapse_threshold=1e9", "on_collapse=stop"]  # everything counts as collapsed
    result = run(recipe, overrides=overrides, out=tmp_path / "out", quiet=True)
    assert (result.summary["status"], result.summary["collapsed"], result.summary["collapsed_at"]) == ("stopped", True, 32)
    (event,) = [record for record in records(tmp_path / "out", "events.jsonl") if record["event"] == "collapsed"]
    assert event["variance"] > 0
    assert "warning: embedding collapsed at 32 env steps" in capsys.readouterr().err


def test_an_untrained_encoder_is_allowed_with_a_notice(recipe: Path, tmp_path: Path) -> None:
    run(recipe, overrides=["jepa=null", "algorithm.gradients_to_encoder=false"], out=tmp_path / "out", quiet=True)
    notices = [record["text"] for record in records(tmp_path / "out", "events.jsonl") if record["event"] == "notice"]
    assert notices == ["no loss term reaches the encoder: it keeps its random weights"]


def test_a_component_that_does_not_fit_is_reported_at_its_place(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--set #1: patch 7 does not divide.*8"):
        run(recipe, overrides=["encoder.patch=7"], out=tmp_path / "out", quiet=True)
    with pytest.raises(UserError, match=r"--set #1: `.*` is no longer finite, although its gradient was(?s:.*)lr=1e38"):
        run(recipe, overrides=["optimizer.lr=1e38"], out=tmp_path / "out", quiet=True)
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from torch import nn\nfrom jepakit import register\n\n@register('objective', 'broken')\nclass Broken(nn.Module):\n"
        "    def forward(self, s_y_hat, s_y):\n        return s_y_hat @ s_y\n"
    )
    with pytest.raises(UserError, match=r"small\.yaml|--set #2.*(?s:.*)broken\.py, line 7"):
        run(recipe, overrides=[f"plugins=[{broken}]", "jepa.objective.kind=broken"], out=tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("slot", "code", "where", "complaint"),
    [
        ("regularizer", "def forward(self, s_x): s_x.var()", "regularizers=", "returned NoneType where a tensor"),
        ("regularizer", "def forward(self, s_x): return s_x.var(dim=0)", "regularizers=", r"returned \[8\] where \[\]"),
        ("objective", "def forward(self, a, b): pass", "jepa.objective=", "returned NoneType where a tensor"),
        ("objective", "def forward(self, a): return a", "jepa.objective=", "TypeError: Odd.forward.. takes 2 positional arguments"),
        ("predictor", "def forward(self, s_x, action): return s_x[:, :1]", "jepa.predictor=", r"returned \[4, 1\] where \[4, 8\]"),
        ("encoder", "def forward(self, x): return x.flatten(-4)[..., :8] / 0", "encoder=", "values that are not finite"),
    ],
)
def test_a_component_that_returns_an_invalid_value_is_blamed(
    recipe: Path, tmp_path: Path, slot: str, code: str, where: str, complaint: str
) -> None:
    (tmp_path / "odd.py").write_text(
        f"from torch import nn\nfrom jepakit import register\n\n@register('{slot}', 'odd')\nclass Odd(nn.Module):\n    {code}\n"
    )
    value = "[{kind: odd}]" if slot == "regularizer" else "{kind: odd}"
    with pytest.raises(UserError, match=rf"^--set #2: .*{complaint}(?s:.)*{where}"):
        run(recipe, overrides=[f"plugins=[{tmp_path / 'odd.py'}]", f"{where}{value}"], out=tmp_path / "out", quiet=True)


def test_evaluation_is_reproducible_and_plays_the_given_number_of_episodes(recipe: Path, tmp_path: Path) -> None:
    run(recipe, out=tmp_path / "out", quiet=True)
    first, second = (evaluate(tmp_path / "out", episodes=5) for _ in range(2))
    assert first == second
    for mode in ("greedy", "sampled"):
        assert len(first[mode]["returns"]) == 5
        assert first[mode]["mean"] == pytest.approx(sum(first[mode]["returns"]) / 5)
        assert first[mode]["returns"] == [float(length) for length in first[mode]["lengths"]]
    assert first["seed"] == 1_000_003
    with pytest.raises(UserError, match="not a run's folder"):
        evaluate(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_saves_and_exits_130(recipe: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = ForkedRun(["run", str(recipe), "--set", "total_steps=10_000_000", "--out", str(tmp_path / "out")], tmp_path / "printed")
    metrics = tmp_path / "out" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and '"train"' in metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    process.wait()
    assert process.poll() == 130
    err = (tmp_path / "printed").read_text()
    assert "finishing this batch, then saving" in err
    assert "Traceback" not in err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert (tmp_path / "out" / "checkpoints" / f"{summary['env_steps']:012d}" / "weights.safetensors").is_file()

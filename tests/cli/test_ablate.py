"""``jepakit ablate``, and how other verbs treat a sweep."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jepakit.components.engines import processes
from jepakit.machine import hardware
from tests.forked import ForkedRun

Cli = Callable[..., tuple[int, str, str]]

PLUGIN = '''
from torch import nn
from jepakit import register

@register("encoder", "moody")
class Moody(nn.Module):
    """A linear layer that may break down.

    Args:
        breaks_at: At this call.
    """

    def __init__(self, frames, *, breaks_at: int | None = None) -> None:
        super().__init__()
        self.calls, self.breaks_at = 0, breaks_at
        self.linear = nn.LazyLinear(8)

    def forward(self, pixels):
        self.calls += 1
        if self.calls == self.breaks_at:
            raise ArithmeticError("broke down as told")
        return self.linear(pixels.flatten(-4).float() / 255)
'''

SWEEP = """\
name: moods
total_steps: 64
env: {kind: gym, id: CartPole-v1, num_envs: 2, size: [20, 30]}
encoder: {kind: moody}
algorithm: {kind: ppo, rollout_steps: 16, minibatch_size: 16, epochs: 1}
plugins: [./moody.py]
device: cpu
precision: fp32
threads: 2
sweep:
  grid: {encoder.breaks_at: [20, null]}
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(processes, "start_process", ForkedRun)
    (tmp_path / "moody.py").write_text(PLUGIN)
    file = tmp_path / "moods.yaml"
    file.write_text(SWEEP)
    return file


def rows(text: str) -> list[list[str]]:
    """The cells of a printed table, without its heading."""
    return [line.split() for line in text.splitlines()[1:]]


def test_a_failed_run_is_reported_and_the_others_continue(cli: Cli, sweep: Path) -> None:
    code, out, err = cli("ablate", str(sweep))
    assert code == 1, err
    (traceback,) = Path("runs/moods").glob("*/traceback.txt")
    assert "failed: encoder.breaks_at=20, seed 0: ArithmeticError: broke down as told\n    " + str(traceback) in out
    assert rows(out)[1][:2] == ["encoder.breaks_at=null", "1/1"]
    (finished,) = [path.parent for path in Path("runs/moods").glob("*/summary.json") if '"finished"' in path.read_text()]
    assert out.splitlines()[-1] == "to compare: jepakit compare runs/moods"

    code, out, err = cli("ablate", str(sweep), "--over", "encoder.breaks_at=20")  # resumes the failed run and trusts its plug-in
    assert code == 1
    assert "ArithmeticError: broke down as told" in out
    events = [json.loads(line)["event"] for line in (traceback.parent / "events.jsonl").open()]
    assert events == ["start", "notice", "failed", "resume", "failed"]  # the notice: it counts in a plain attribute

    code, out, err = cli("run", str(sweep), "--set", "sweep=null", "--set", "threads=1")
    assert (code, out.splitlines()[0]) == (0, f"already finished: {finished}"), err

    assert cli("record", str(finished), "--to", "records")[0] == 0
    shutil.rmtree("runs")
    code, out, err = cli("ablate", str(sweep), "--over", "encoder.breaks_at=null", "--recorded", "records")
    assert code == 0, err
    assert rows(out)[0][:2] == ["encoder.breaks_at=null", "1/1"]
    assert out.splitlines()[-1] == "to compare: jepakit compare records"
    assert not Path("runs").exists()


def test_a_sweep_that_lacks_a_run_of_another_host_does_not_end_as_a_complete_one(cli: Cli, sweep: Path) -> None:
    command = ("ablate", str(sweep), "--over", "encoder.breaks_at=null")
    far = Path("runs/moods", rows(cli(*command, "--dry-run")[1])[0][2])
    far.mkdir(parents=True)
    (far / "lock").write_text('{"pid": 12, "host": "elsewhere.example"}')  # this host cannot know whether it is alive
    code, out, err = cli(*command)
    assert code == 1, err
    assert "running elsewhere: encoder.breaks_at=null, seed 0" in out
    assert f"if its process is gone, remove {far / 'lock'}" in out


def test_a_dry_run_lists_the_runs_and_creates_no_folder(cli: Cli, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepakit.sweep.plan.usable_cores", lambda: 6)
    before = sorted(Path().iterdir())
    code, out, err = cli("ablate", str(sweep), "--dry-run", "--seeds", "4,1", "--out", "elsewhere")
    assert code == 0, err
    table = [[row[0], row[1], row[3], row[4]] for row in rows(out)[:-1]]
    labels = ["encoder.breaks_at=20"] * 2 + ["encoder.breaks_at=null"] * 2
    assert table == [[label, seed, "1", "new"] for label, seed in zip(labels, ["4", "1"] * 2, strict=True)]
    assert out.splitlines()[-1] == "4 runs in elsewhere/moods: 0 finished or running, 0 to resume, 4 new; 6 at a time"
    assert sorted(Path().iterdir()) == before


def test_jobs_and_threads_fill_the_cores(cli: Cli, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepakit.sweep.plan.usable_cores", lambda: 6)
    monkeypatch.setattr(hardware, "usable_cores", lambda: 6)

    def plan(*args: str) -> tuple[set[str], str, str]:
        code, out, err = cli("ablate", str(sweep), "--dry-run", *args)
        assert code == 0, err
        return {row[-2] for row in rows(out)[:-1]}, out.rpartition("; ")[2].strip(), err

    assert plan() == ({"1"}, "6 at a time", "")
    assert plan("--set", "threads=4") == ({"4"}, "1 at a time", "")
    assert plan("--over", "threads=1,3") == ({"1", "3"}, "2 at a time", "")
    assert plan("--jobs", "3") == ({"2"}, "3 at a time", "")
    assert plan("--jobs", "4")[2].startswith("notice: 4 runs at a time use 8 threads on 6 cores")


def test_identical_runs_are_run_once(cli: Cli, sweep: Path) -> None:
    code, out, err = cli("ablate", str(sweep), "--dry-run", "--over", "encoder.breaks_at=null,20,null", "--seeds", "2")
    assert code == 0, err
    assert [row[:2] for row in rows(out)[:-1]] == [[f"encoder.breaks_at={value}", seed] for value in ("null", "20") for seed in "01"]
    assert err.splitlines() == [f"notice: `encoder.breaks_at=null`, seed {seed}, is written twice: run once" for seed in "01"]
    err = cli("ablate", str(sweep), "--dry-run", "--set", "sweep.cases={a: {}, b: {on_collapse: warn}}", "--over", "encoder.breaks_at=20")[
        2
    ]
    assert err == "notice: `b, encoder.breaks_at=20`, seed 0, is the same run as `a, encoder.breaks_at=20`: run once\n"


@pytest.mark.parametrize(
    ("args", "wrong"),
    [
        (["--jobs", "0"], "--jobs 0: write a number of at least 1, or `auto`"),
        (["--jobs", "many"], "--jobs many: write a number of at least 1, or `auto`"),
        (["--seeds", "a,b"], "--seeds a,b: write how many seeds (5), or which ones (0,3,5)"),
        (["--recorded", "nowhere"], "--recorded: there is no folder nowhere"),
        (["--engine", "rays"], "--engine: unknown engine `rays`; did you mean `ray`?"),
        (["--engine", "{cpus: 1}"], "--engine {cpus: 1}: write a kind (local, ray, slurm), or a kind with fields"),
        (["--engine", "{kind: ray, cpu: 1}"], "--engine: unknown field `cpu`"),
        (["--engine", "{kind: ray, cpu: 1}"], "    {kind: ray, cpu: 1}\n                ^\n    did you mean `cpus`?"),
        (["--engine", "{kind: ray, retries: -1}"], "    expected an integer of at least 0"),
        (["--engine", "{kind: ray, cpus: .nan}"], "--engine: `cpus` cannot be"),
        (["--engine", "{kind: slurm, grace_seconds: 60, time_minutes: 1}"], "--engine: grace_seconds 60 leaves no time"),
        (["--engine", "{kind: ray"], "--engine"),
        (["--engine", "local", "--print-commands"], "--print-commands: this engine has no script to show"),
        (["--shard", "3/2"], "--shard 3/2: write which share of how many, from 1/4 to 4/4"),
        (["--shard", "2"], "--shard 2: write which share of how many, from 1/4 to 4/4"),
        (["--over", "encoder.breaks=1"], "--over #1: unknown field `breaks` in `encoder`"),
        (["--over", "optimizer.lr=1e-3,fast"], '--over #1: `optimizer.lr` cannot be the string "fast"'),
        # Only building the second configuration shows this mistake; the first is not started either.
        (["--over", "encoder={kind: vit, patch: 10},{kind: vit, patch: 7}"], "--over #1: patch 7 does not divide"),
    ],
)
def test_a_mistake_is_reported_before_any_run_starts(cli: Cli, sweep: Path, args: list[str], wrong: str) -> None:
    if args[-1].startswith("encoder={"):
        args = ["--set", "sweep=null", *args]
    code, out, err = cli("ablate", str(sweep), *args)
    assert (code, out) == (2, "")
    assert wrong in err
    assert not Path("runs").exists()


def test_an_unwritable_folder_is_reported_before_any_run_starts(cli: Cli, sweep: Path) -> None:
    Path("file").touch()
    for verb in (["ablate", str(sweep)], ["reproduce", "--quick"]):
        code, out, err = cli(*verb, "--out", "file")
        assert (code, out) == (2, "")
        assert err.startswith("can't write to file/")
        assert "running" not in err


def test_printed_commands_run_what_is_left_from_any_folder(cli: Cli, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = cli("ablate", str(sweep), "--print-commands", "--shard", "2/2")
    assert (code, err) == (0, "")
    (line,) = out.splitlines()
    assert not list(Path("runs").glob("*/*/events.jsonl")), "nothing was run"
    sweep.unlink()
    (sweep.parent / "moody.py").unlink()
    run = Path.cwd() / "runs" / "moods"
    monkeypatch.chdir("/")
    words = shlex.split(line)
    assert words[0] == "jepakit"
    code, out, err = cli(*words[1:])
    assert code == 0, err
    (finished,) = run.glob("*/summary.json")
    assert cli("compare", str(run))[0] == 0, "the folder of the recipes is no run"
    monkeypatch.chdir(sweep.parent)
    sweep.write_text(SWEEP)
    (sweep.parent / "moody.py").write_text(PLUGIN)
    code, out, err = cli("ablate", str(sweep), "--print-commands")
    (other,) = out.splitlines()
    assert finished.parent.name not in other
    (run / other.split("/")[-2]).mkdir(exist_ok=True)
    code, out, err = cli("ablate", str(sweep), "--print-commands", "--engine", "{kind: slurm, cluster: local, partition: cpu}")
    assert code == 0, err
    assert "#SBATCH --partition=cpu\n" in out
    assert f"# 0: {other}\n" in out
    for more in ([], ["--engine", "slurm"]):
        told = cli("ablate", str(sweep), "--print-commands", "--shard", "2/2", *more)
        assert told == (0, "", "notice: nothing to print: no run is left to run (of 1)\n")


def test_more_shares_than_runs_leave_nothing_to_do(cli: Cli, sweep: Path) -> None:
    for more in ([], ["--dry-run"], ["--print-commands"], ["--engine", "ray"]):
        assert cli("ablate", str(sweep), "--shard", "3/3", *more) == (0, "", "notice: share 3/3 is empty: this sweep has 2 runs\n")
    assert not Path("runs").exists()


def test_run_refuses_a_sweep(cli: Cli, sweep: Path) -> None:
    code, _, err = cli("run", str(sweep), "--set", "sweep.seeds=3")
    assert code == 2
    assert "this recipe is a sweep of 6 runs" in err
    assert "jepakit ablate" in err


def test_validate_checks_every_run(cli: Cli, sweep: Path) -> None:
    code, out, err = cli("validate", str(sweep), "--set", "sweep.seeds=3")
    assert (code, out) == (0, "valid: moods, a sweep of 6 runs of 2 configurations\n"), err
    code, _, err = cli("validate", str(sweep), "--set", "sweep=null", "--set", "sweep.grid.encoder=[{kind: moody}, {kind: vit, patch: 7}]")
    assert code == 2
    assert "patch 7 does not divide" in err
    assert "in the configuration `encoder={kind: vit, patch: 7}`" in err


def test_show_prints_the_sweep(cli: Cli, sweep: Path) -> None:
    assert "\n  grid: {encoder.breaks_at: [20, null]}\n" in cli("show", str(sweep))[1]

"""Runs many bad inputs, each from its own seed, in child processes: a crash or hang of one is noticed and the rest continues.

python -m tests.fuzz.campaign --count 300
python -m tests.fuzz.campaign --only 4711        # repeat one input and print its output
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz import harness, plugins, recipes, runs
from tests.fuzz.harness import Input, Outcome

FAMILIES = recipes.FAMILIES | plugins.FAMILIES | runs.FAMILIES
BATCH = 100  #: inputs for one child process
PATIENCE = harness.WAITING + 60  #: seconds after which a silent child is killed


class Result(NamedTuple):
    """The outcome of one input."""

    number: int
    family: str
    args: list[str]
    code: int
    seconds: float
    bad: bool
    complaint: str | None
    text: str  #: the output, if there is a complaint


def make(seed: int, number: int, folder: Path, family: str | None = None) -> tuple[str, Input]:
    """Make input ``number`` in ``folder``; return its family and the input."""
    rng = random.Random(f"{seed} {number}")
    names = list(FAMILIES)
    chosen = rng.choices(names, [FAMILIES[name][1] for name in names])[0]
    chosen = family or chosen
    return chosen, FAMILIES[chosen][0](rng, folder)


def one(seed: int, number: int, work: Path, family: str | None = None) -> Result:
    """Make an input, call the command line with it, and judge the outcome."""
    folder = work / str(number)
    folder.mkdir()
    os.chdir(folder)
    try:
        chosen, given = make(seed, number, folder, family)
        got = harness.call(given.args)
        wrong = harness.complaint(given, got)
        if (folder / "code_ran").exists():
            wrong = "untrusted code was run"
        shown = [argument if len(argument) < 200 else f"{argument[:200]}…" for argument in given.args]
        return Result(number, chosen, shown, got.code, got.seconds, harness.is_bad(got), wrong, got.text if wrong else "")
    finally:
        os.chdir(work)
        harness.remove(folder)
        folder.rmdir()


def _child(seed: int, numbers: Sequence[int], work: Path, family: str | None, told: Connection) -> None:
    harness.limit_memory()
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 0)
    for number in numbers:
        told.send(number)
        told.send(one(seed, number, work, family))
    told.send(None)


def batch(seed: int, numbers: Sequence[int], work: Path, family: str | None) -> list[Result]:
    """The results of some inputs. A new child process takes over from one that dies or hangs."""
    found: list[Result] = []
    left = list(numbers)
    while left:
        receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(target=_child, args=(seed, left, work, family, sender))
        child.start()
        sender.close()
        current = left[0]
        try:
            while receiver.poll(PATIENCE):
                said = receiver.recv()
                if said is None:
                    left = []
                    break
                if isinstance(said, int):
                    current = said
                    continue
                found.append(said)
                left.remove(said.number)
            else:
                found.append(Result(current, "?", [], 124, PATIENCE, True, "hang: killed", ""))
                left.remove(current)
        except EOFError:
            child.join()
            found.append(Result(current, "?", [], child.exitcode or 0, 0.0, True, f"the process died: {child.exitcode}", ""))
            left.remove(current)
        child.kill()
        child.join()
    return found


def as_process(seed: int, number: int, work: Path) -> Result:
    """Run an input in its own process, as a user would."""
    folder = work / f"process {number}"
    folder.mkdir()
    family, given = make(seed, number, folder)
    command = [sys.executable, "-m", "jepakit", *given.args]
    limits: dict[str, Any] = {"timeout": 2 * harness.WAITING, "preexec_fn": harness.limit_memory}
    started = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False, **limits)
        got = Outcome(done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"), round(time.perf_counter() - started, 3))
    except subprocess.TimeoutExpired as error:
        got = Outcome(124, str(error), 2 * harness.WAITING)
    harness.remove(folder)
    folder.rmdir()
    wrong = harness.complaint(given, got)
    return Result(number, f"{family}, as a process", given.args, got.code, got.seconds, harness.is_bad(got), wrong, got.text)


def results(seed: int, count: int, family: str | None, jobs: int, processes: int, work: Path) -> Iterator[Result]:
    """Results until ``count`` inputs were bad (refused, or accepted with a warning), then of ``processes`` more in their own processes."""
    number = bad = 0
    with ThreadPoolExecutor(jobs) as pool:
        while bad < count:
            size = min(BATCH, max(10, (count - bad) // jobs))
            batches = [range(number + n * size, number + (n + 1) * size) for n in range(jobs)]
            number += jobs * size
            for result in chain.from_iterable(pool.map(lambda numbers: batch(seed, numbers, work, family), batches)):
                bad += result.bad
                yield result
    yield from (as_process(seed, number + n, work) for n in range(processes))


def campaign(
    seed: int, count: int, family: str | None = None, jobs: int = 1, processes: int = 0, say: Any = lambda text: None
) -> dict[str, Any]:
    """Run many inputs and return the totals."""
    harness.prepare()
    started = time.perf_counter()
    tried: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    findings: dict[str, list[int]] = defaultdict(list)
    slowest: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        work = Path(name).resolve()
        runs.good(work / "good")
        for result in results(seed, count, family, jobs, processes, work):
            tried[result.family] += 1
            bad[result.family] += result.bad
            slowest = sorted([*slowest, result], key=lambda found: -found.seconds)[:5]
            if result.complaint:
                findings[result.complaint].append(result.number)
                say(f"{result.number} ({result.family}) {result.args}: {result.complaint}\n{result.text[-1500:]}\n")
    return {
        "seed": seed,
        "inputs": sum(tried.values()),
        "bad": sum(bad.values()),
        "findings": findings,
        "families": {family: {"inputs": tried[family], "bad": bad[family]} for family in sorted(tried)},
        "slowest_s": [[result.seconds, result.family, result.number] for result in slowest],
        "wall_s": round(time.perf_counter() - started, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="number of bad inputs (inputs that are still valid do not count)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=list(FAMILIES), help="only this family of inputs")
    parser.add_argument("--without", choices=list(FAMILIES), action="append", default=[], help="leave out this family; may be repeated")
    parser.add_argument("--only", type=int, help="repeat this one input")
    parser.add_argument("--jobs", type=int, default=1, help="child processes at a time")
    parser.add_argument("--processes", type=int, default=0, help="further inputs, each in its own process")
    parser.add_argument("--json", type=Path, help="where to write the totals")
    chosen = parser.parse_args(arguments)
    for name in chosen.without:
        del FAMILIES[name]
    if chosen.only is not None:
        harness.prepare()
        with tempfile.TemporaryDirectory(prefix="fuzz") as name:
            work = Path(name).resolve()
            runs.good(work / "good")
            folder = work / "again"
            folder.mkdir()
            os.chdir(folder)
            family, given = make(chosen.seed, chosen.only, folder, chosen.family)
            for path in sorted(folder.iterdir()):
                if path.is_file() and path.stat().st_size < 20_000:
                    sys.stdout.write(f"--- {path.name}\n{path.read_text(errors='replace')}\n")
            got = harness.call(given.args)
            sys.stdout.write(f"--- {family}: {given.args}\n{got.text}\n{got.code}, {got.seconds} s: {harness.complaint(given, got)}\n")
            os.chdir(work)
            harness.remove(folder)
        return 0
    found = campaign(chosen.seed, chosen.count, chosen.family, chosen.jobs, chosen.processes, lambda text: print(text, flush=True))  # noqa: T201
    text = json.dumps(found, indent=2) + "\n"
    if chosen.json:
        chosen.json.write_text(text)
    sys.stdout.write(text)
    return 1 if found["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())

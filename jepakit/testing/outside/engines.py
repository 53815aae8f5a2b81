"""The rules for engines."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from jepakit.protocols import Ended, Engine, Going, Job
from jepakit.testing.modules import Make
from jepakit.testing.rules import Rules, expect
from jepakit.testing.settings import Setting

PATIENCE = 120.0  #: seconds for a job that takes one


def check_engine(rules: Rules, make: Make, setting: Setting) -> None:
    """An engine starts `jepakit` commands, says how each has ended, and ends them when asked."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        home = Path(temporary) / "jobs"
        with rules.rule("protocol", "give it what `jepakit.protocols.Engine` lists: `remote`, `retries` and six methods"):
            engine: Engine = make(0)
            expect(isinstance(engine, Engine), "an attribute or a method is missing")
        if rules.broken:
            return
        engine.begin(home, lambda text: None)
        try:
            _check_jobs(rules, engine, home)
        finally:
            engine.end()


def _check_jobs(rules: Rules, engine: Engine, home: Path) -> None:
    with rules.rule("jobs", "run `jepakit WORDS…` as a process; `poll` returns its exit code, once what it prints is in the job's log"):
        jobs = [_job(home, "version", "--version"), _job(home, "mistake", "show", "no_such_recipe")]
        number = engine.at_a_time(jobs)
        expect(number is None or number >= 1, f"`at_a_time` returns {number}: no run would ever start")
        going = list(engine.start(jobs))
        expect(len(going) == len(jobs), f"`start` returns {len(going)} of {len(jobs)} jobs")
        expect(all(isinstance(one, Going) for one in going), "a job lacks `queued`, `poll`, `stop` or `kill`")
        codes = [_end(one).code for one in going]
        expect(codes == [0, 2], f"the exit codes are {codes}, not [0, 2]")
        said = jobs[0].log.read_text()
        expect(bool(re.match(r"jepakit \d", said)), f"the log holds {said[:80]!r}")
        expect("no_such_recipe" in jobs[1].log.read_text(), "the log lacks what the process prints on stderr")
    with rules.rule("stop", "after `stop`, pass SIGINT on to the process, or take it from the queue; then `poll` says that it has ended"):
        stopped, queued = engine.start([_job(home, name, "schema") for name in ("stopped", "queued")])
        queued.stop()
        while stopped.queued and stopped.poll() is None:
            time.sleep(0.02)
        stopped.stop()
        expect(all(_end(one).code != 0 for one in (stopped, queued)), "a job that was stopped has run to its end")
    with rules.rule("kill", "`kill` waits for the end, and may be called again"):
        (killed,) = engine.start([_job(home, "killed", "schema")])
        killed.kill()
        expect(killed.poll() is not None, "after `kill`, `poll` says that the job still goes on")
        killed.kill()
    with rules.rule("find", "`find` returns None for a job that has ended"):
        expect(engine.find(jobs[0]) is None, "it returns a job that has ended")


def _job(home: Path, name: str, *words: str) -> Job:
    needs = home / name
    needs.mkdir(parents=True)
    return Job(name, words, ("resume", "none"), home.parent / "runs" / name, needs, needs / "printed.txt", cpus=1, gpus=0)


def _end(going: Going) -> Ended:
    until = time.monotonic() + PATIENCE
    while (ended := going.poll()) is None:
        expect(time.monotonic() < until, f"a job of one second has not ended after {PATIENCE:.0f} s")
        time.sleep(0.05)
    return ended

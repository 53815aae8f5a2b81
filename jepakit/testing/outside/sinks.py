"""The rules for sinks."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepakit.protocols import MirroredRun, Sink
from jepakit.testing.modules import Make
from jepakit.testing.rules import Rules, expect
from jepakit.testing.settings import Setting

STEPS = (50, 100, 150)


def check_sink(rules: Rules, make: Make, setting: Setting) -> None:
    """A sink takes records, says what another process needs to continue, and continues there."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "sinks"
        with rules.rule("construction", "open files and connections in `begin`: recipes are checked by building their sinks"):
            sink = make(0, folder=folder)
            expect(not folder.exists(), "the constructor writes to its folder")
        with rules.rule("protocol", "give it begin, metrics, event, flush and end, as `jepakit.Sink` has them"):
            expect(isinstance(sink, Sink), "a method of `jepakit.Sink` is missing")
        if rules.broken:
            return
        folder.mkdir()
        before = _generators()
        run = MirroredRun("0123456789", "checked", {"seed": 0, "env": {"kind": "gym"}, "regularizers": [], "jepa": None}, 0, {})
        state: Any = None
        with rules.rule("records", "take any finite numbers, several records of the same env steps, and an end without a summary"):
            held = sink.begin(run)
            _give(sink, STEPS)
            sink.event({"event": "collapsed", "env_steps": STEPS[-1], "variance": 0.0, "mean_square": 1.0})
            state = sink.flush()
            sink.end(None)
            expect(held == 0, f"`begin` of a new run says that it holds {held} env steps")
        with rules.rule("state", "return from `flush` a dict of JSON values: it is kept in a file for the process that continues"):
            expect(isinstance(state, dict) and json.loads(json.dumps(state)) == state, f"`flush` returns {type(state).__name__}")
        if rules.broken:
            return
        with rules.rule("continuation", "return from `begin` env steps whose records the tool has; those after come again, none before"):
            again = make(0, folder=folder)
            held = again.begin(run._replace(held=STEPS[1], state=state))
            expect(0 <= held <= STEPS[-1], f"`begin` says that it holds {held} env steps, of a run given to it up to {STEPS[-1]}")
            _give(again, [steps for steps in (*STEPS, 200) if steps > held])
            again.flush()
            again.end({"status": "finished", "env_steps": 200, "return_last_100": 9.5})
        with rules.rule("random numbers", "draw from a generator of your own (secrets, uuid4): a run must not depend on its sinks"):
            drawn = [name for name, state in _generators().items() if state != before[name]]
            expect(not drawn, f"it draws from {' and '.join(drawn)}'s global generator")


def _give(sink: Sink, steps: Any) -> None:
    for env_steps in steps:
        for episode_return in (9.0, 10.0):
            record = {"episode_return": episode_return, "episode_length": 9, "terminated": True, "wall_s": env_steps / 100}
            sink.metrics(record, env_steps, 1e9 + env_steps)
        sink.metrics({"updates": env_steps // 10, "loss/jepa": 1e-30, "wall_s": env_steps / 100}, env_steps, 1e9 + env_steps)


def _generators() -> dict[str, str]:
    states = {"Python": random.getstate(), "NumPy": np.random.get_state(), "torch": torch.get_rng_state().tolist()}
    return {name: str(state) for name, state in states.items()}

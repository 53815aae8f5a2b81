"""The files that say what has come out of a study: ``tune.json``, ``best.yaml`` and the figures."""

from __future__ import annotations

import json
from dataclasses import asdict

from jepakit.files.writing import write_atomically
from jepakit.tuning import figures
from jepakit.tuning.best import write_best
from jepakit.tuning.candidates import Candidates
from jepakit.tuning.result import Tuned


def write_result(tuned: Tuned, candidates: Candidates) -> None:
    """Write the files to the study's folder."""
    rules = asdict(tuned.rules) | {"space": json.loads(tuned.rules.space)}
    trials = [asdict(trial) | {"runs": [run.name for run in trial.runs]} for trial in tuned.trials]
    best = tuned.best.number if tuned.best else None
    content = {"study": tuned.name, "recipe": candidates.base.name, "rules": rules, "best": best, "importance": tuned.importance}
    write_atomically(tuned.path / "tune.json", json.dumps(content | {"trials": trials}, indent=1) + "\n")
    if tuned.best:
        write_best(tuned.best, candidates, tuned.path / "best.yaml")
        figures.draw_history(tuned)
    if tuned.importance:
        figures.draw_importance(tuned)

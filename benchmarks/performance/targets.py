"""The targets: what is wanted, what was measured, whether that is met, and what limits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, NamedTuple

from benchmarks.performance.ratios import ratio

SB3 = "Stable-Baselines3 PPO"
SHARE_OF_DRAWING = 0.15


class Verdict(NamedTuple):
    """One line of the table of targets."""

    target: str
    measured: str
    is_met: bool | None  #: None: not measured
    limit: str


def verdicts(found: Mapping[str, Any]) -> list[Verdict]:
    """All targets, judged by the parts of a performance file; a part that is not there is not measured."""
    judged = []
    for part, target, judge in TARGETS:
        if part in found and (verdict := judge(found[part])):
            judged.append(Verdict(target, *verdict))
        else:
            judged.append(Verdict(target, "not measured", None, ""))
    return judged


Judge = Callable[[Mapping[str, Any]], tuple[str, bool, str] | None]


def speed(contest: str, least: float) -> Judge:
    """Env steps a second against SB3's PPO with the same drawing."""

    def judge(peers: Mapping[str, Any]) -> tuple[str, bool, str] | None:
        if contest not in peers["contests"]:
            return None
        rounds = peers["contests"][contest]["rounds"]
        ours, theirs = ([each[name]["steps_per_second"] for each in rounds] for name in ("jepakit", SB3))
        found = ratio(ours, theirs)
        return f"{found}×", found.median >= least, largest_parts([each["jepakit"]["shares"] for each in rounds])

    return judge


def drawing(peers: Mapping[str, Any]) -> tuple[str, bool, str] | None:
    """The env's share of the main recipe's wall-clock, physics and resizing included."""
    if "ppo_40x60" not in peers["contests"]:
        return None
    shares = [each["jepakit"]["shares"] for each in peers["contests"]["ppo_40x60"]["rounds"]]
    share = median(each["env"] for each in shares)
    return f"{share:.0%}, physics and resizing included", share <= SHARE_OF_DRAWING, largest_parts(shares)


def seconds_to_solve(solved: Mapping[str, Any]) -> tuple[str, bool, str]:
    """Seconds of every seed, and the interquartile mean of the held-out returns."""
    seconds = [run["seconds"] for run in solved["runs"]]
    steps = max(run["env_steps"] for run in solved["runs"])
    is_met = median(seconds) <= 30 and solved["iqm"] >= 475 and steps <= 25_000
    measured = f"{median(seconds):.1f} s [{min(seconds):.1f}, {max(seconds):.1f}], {steps:,} env steps, return {solved['iqm']:.1f}"
    spent = {part: sum(run["spent"].get(part, 0.0) for run in solved["runs"]) for part in solved["runs"][0]["spent"]}
    spent["start and end"] = sum(seconds) - sum(spent.values())
    return measured, is_met, largest_parts([{part: each / sum(seconds) for part, each in spent.items()}])


def five_seeds(seeds: Mapping[str, Any]) -> tuple[str, bool, str]:
    """Five seeds against one run on two threads."""
    found = ratio([each["all"] for each in seeds["rounds"]], [each["one"] for each in seeds["rounds"]])
    return f"{found}×", found.median <= 2.2, f"{len(seeds['seeds'])} runs on the cores that there are"


def validation(validate: Mapping[str, Any]) -> tuple[str, bool, str]:
    """`jepakit validate` against its imports."""
    rounds = validate["rounds"]
    found = ratio([each["validate"] for each in rounds], [each["imports"] for each in rounds])
    imports = median(each["imports"] for each in rounds)
    return f"{found}×", found.median <= 1.5, f"the imports alone take {imports:.1f} s"


def largest_parts(shares: list[Mapping[str, float]]) -> str:
    """The two largest parts of the time."""
    means = {part: median(each[part] for each in shares) for part in shares[0]}
    return ", ".join(f"{part} {share:.0%}" for part, share in sorted(means.items(), key=lambda each: -each[1])[:2])


TARGETS: tuple[tuple[str, str, Judge], ...] = (
    ("peers", "at least 2× Stable-Baselines3's env steps/s at 40×60", speed("ppo_40x60", 2)),
    ("peers", "at least 4× Stable-Baselines3's env steps/s at 84×84", speed("ppo_84x84", 4)),
    ("solve", "pixel Cart Pole solved in at most 30 s and 25,000 env steps, held-out return at least 475", seconds_to_solve),
    ("peers", f"the env at most {SHARE_OF_DRAWING:.0%} of the main recipe's wall-clock", drawing),
    ("seeds", "five seeds at most 2.2× one run on two threads", five_seeds),
    ("validate", "`jepakit validate` at most 1.5× the imports of torch and torchrl", validation),
)

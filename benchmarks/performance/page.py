"""The tables of `docs/performance.md`, from the measurements."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks.performance.encoder import BATCHED, COMPILED, ONE
from benchmarks.performance.ratios import ratio
from benchmarks.performance.targets import verdicts
from benchmarks.tables import table

MET = {True: "**met**", False: "not met", None: "–"}


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """All tables of the page, by name."""
    return {each.__name__: each(found) for each in (targets, peers, solve, encoder, machine)}


def targets(found: Mapping[str, Any]) -> str:
    """Every target with what was measured."""
    rows = [(each.target, each.measured, MET[each.is_met], each.limit) for each in verdicts(found)]
    return table(("target", "measured", "", "where the time goes, or what limits it"), rows)


def peers(found: Mapping[str, Any]) -> str:
    """A table for each contest: speeds, ratios of jepakit to each peer, and shares of the time."""
    if "peers" not in found:
        return "Not measured."
    return "\n\n".join(contest(each) for each in found["peers"]["contests"].values())


def contest(played: Mapping[str, Any]) -> str:
    """The table of one contest."""
    work, rounds = played["settings"], played["rounds"]
    speeds = {name: [each[name]["steps_per_second"] for each in rounds] for name in rounds[0]}
    rows = []
    for name, speed in speeds.items():
        shares = [each[name]["shares"] for each in rounds]
        parts = ", ".join(f"{part} {median(each[part] for each in shares):.0%}" for part in shares[0]) or "–"
        against = "" if name == "jepakit" else str(ratio(speeds["jepakit"], speed))
        rows.append((name, f"{median(speed):.0f} [{min(speed):.0f}, {max(speed):.0f}]", against, parts))
    updates = f"{work['updates']} updates a batch" if "DQN" in played["title"] else f"{work['epochs']} epochs"
    text = f"**{played['title']}**: {work['envs']} envs × {work['steps']} steps, {updates}, minibatch {work['minibatch']}, "
    text += f"{work['threads']} torch threads, {len(rounds)} rounds"
    return f"{text}\n\n{table(('', 'env steps/s', 'jepakit / this', 'shares of the time'), rows)}"


def solve(found: Mapping[str, Any]) -> str:
    """Every seed's seconds and returns."""
    if "solve" not in found:
        return "Not measured."
    rows = [
        (run["seed"], f"{run['seconds']:.1f}", f"{run['env_steps']:,}", f"{run['sampled']:.1f}", f"{run['greedy']:.1f}")
        for run in found["solve"]["runs"]
    ]
    return table(("seed", "seconds", "env steps", "held-out return, sampled", "greedy"), rows)


def encoder(found: Mapping[str, Any]) -> str:
    """Each encoder's times, and what compiling and batching make of them."""
    if "encoder" not in found:
        return "Not measured."
    rows = []
    for each in found["encoder"]["encoders"]:
        ms = each["ms"]
        for name, one in ms[ONE].items():
            compiled, batched = ratio(ms[COMPILED][name], one), ratio(ms[BATCHED][name], one)
            rows.append(
                (each["recipe"], each["threads"], name, f"{median(one):.1f}", f"{compiled}×", f"{each['compiling']:.0f}", f"{batched}×")
            )
    return table(("encoder of", "threads", "pass", "ms", "compiled", "compiling, s", "five seeds as one"), rows)


def machine(found: Mapping[str, Any]) -> str:
    """Where, when and of which commit each part was measured."""
    rows = []
    for part, figures in found.items():
        on = figures["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
        processor = f"{on['processor']}{' (bf16)' if on['fast_bf16'] else ''}"
        rows.append((part, on["day"], f"`{on['commit']}`", processor, on["cores"], f"Python {on['python']}, {versions}"))
    return table(("part", "day", "commit", "processor", "cores", "versions"), rows) if rows else "Not measured."

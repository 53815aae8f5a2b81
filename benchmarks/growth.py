"""How the cost of an env step and the memory grow with envs, frame size, d_emb, depth, minibatch and horizon.

    python -m benchmarks.growth                    # measures, then writes docs/results/growth.json, growth.svg beside it, docs/growth.md
    python -m benchmarks.growth env.num_envs       # measures this field again and keeps the others
    python -m benchmarks.growth --write-only       # writes figure and page from docs/results/growth.json
    python -m benchmarks.growth --seconds 1 --docs /tmp/try

Each setting trains the main recipe, with one value changed, in its own process for some seconds and is then killed. The recipe's own
values are measured with each factor anew, and tell the noise. Batches are half as long as the recipe's, so that slow settings finish some.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.timed_run import peak_mb, timed_run

RECIPE = "cartpole_pixels"
SETTINGS = ("algorithm.rollout_steps=64", "total_steps=10_000_000", "diagnostics=[]", "checkpoint_every=10_000_000")
SECONDS = 5.0  #: of batches that are timed, the first left out, and two batches at least
IMPORTS = "import jepakit.training.run; from jepakit import registry; registry.load_builtins()"
DOCS = Path(__file__).resolve().parents[1] / "docs"
PARTS = ("batch", "env", "policy", "learner")


class Factor(NamedTuple):
    """A field of the recipe that is varied, and why its cost grows as it does."""

    name: str
    field: str
    values: tuple[Any, ...]
    reason: str

    def at(self, value: Any) -> float:
        """The value as a number: of a frame size its pixels."""
        return float(np.prod(value))


FACTORS = (
    Factor(
        "envs",
        "env.num_envs",
        (2, 4, 8, 16, 32),
        "Every env step is drawn and learned from as before; more envs share the fixed cost of one call of the policy.",
    ),
    Factor(
        "pixels of a frame",
        "env.size",
        ([20, 40], [40, 60], [60, 100], [80, 120], [120, 180]),
        "Tokens, and with them matrix products, grow with the pixels; the simulator draws at its own size, whatever is kept.",
    ),
    Factor(
        "d_emb",
        "encoder.dim",
        (16, 32, 64, 128, 256),
        "Matrix products grow with its square, all else at most with itself; narrow encoders cost little but their calls.",
    ),
    Factor(
        "depth",
        "encoder.depth",
        (1, 2, 3, 4, 6),
        "Each block adds the same to both encoders; drawing, heads and optimizer calls do not change.",
    ),
    Factor(
        "minibatch",
        "algorithm.minibatch_size",
        (16, 32, 64, 128, 256),
        "The rows of an epoch stay the same; larger minibatches share an update's fixed cost (calls, Adam, EMA) among more of them.",
    ),
    Factor(
        "horizon",
        "jepa.horizon",
        (1, 2, 3, 4, 6),
        "For each step the target encodes one more stack, without gradients, and the predictor predicts once more; nothing else grows.",
    ),
)


def measure(overrides: Sequence[str], seconds: float) -> dict[str, Any]:
    """Milliseconds of an env step by part, and peak memory, of the main recipe with ``overrides``; with its provenance."""
    words = [word for override in (*SETTINGS, *overrides) for word in ("--set", override)]
    learned, memory, provenance = timed_run(
        (RECIPE, *words), lambda learned: len(learned) >= 3 and sum(record["time/batch"] for record in learned[1:]) >= seconds
    )
    steps = learned[-1]["env_steps"] - learned[0]["env_steps"]
    taken = {part: round(1000 * sum(record[f"time/{part}"] for record in learned[1:]) / steps, 4) for part in PARTS}
    return {"steps_per_second": round(1000 / taken["batch"], 1), "ms": taken, "peak_mb": memory, "provenance": provenance}


def measure_factor(factor: Factor, seconds: float) -> dict[str, Any]:
    """One factor at all its values; progress goes to stdout."""
    started, rows = time.perf_counter(), []
    for value in factor.values:
        measured = measure([f"{factor.field}={json.dumps(value)}"], seconds)
        provenance = measured.pop("provenance")
        rows.append({"value": value} | measured)
        sys.stdout.write(f"{factor.name} {value}: {measured['steps_per_second']} env steps/s, {measured['peak_mb']} MB\n")
        sys.stdout.flush()
    machine = {name: provenance[name] for name in ("cpu", "cores", "threads", "precision", "device", "git", "packages")}
    return {"rows": rows, "machine": machine, "seconds": seconds, "took_s": round(time.perf_counter() - started)}


def own_values() -> dict[str, Any]:
    """The recipe's own value of each factor's field."""
    from jepakit.recipe import load_recipe

    recipe = load_recipe(RECIPE).model_dump(mode="json")
    own = {}
    for factor in FACTORS:
        block, name = factor.field.split(".")
        own[factor.field] = recipe[block][name]
    return own


def exponent(values: Sequence[float], costs: Sequence[float]) -> float:
    """The k of cost ∝ value^k: the least-squares slope of the logarithms."""
    return float(np.polyfit(np.log(values), np.log(costs), 1)[0])


def column(rows: Sequence[dict[str, Any]], part: str) -> list[float]:
    """The milliseconds of one part at each value."""
    return [row["ms"][part] for row in rows]


def page(found: dict[str, Any]) -> str:
    """The page, from the figures alone."""
    measured = [found[factor.field] for factor in FACTORS]
    machine, seconds, took = measured[-1]["machine"], measured[-1]["seconds"], sum(each["took_s"] for each in measured)
    own = [
        row["steps_per_second"] for factor in FACTORS for row in found[factor.field]["rows"] if row["value"] == found["own"][factor.field]
    ]
    text = [
        "# How cost grows",
        "",
        "    python -m benchmarks.growth",
        "",
        f"The main recipe (`{RECIPE}`) with one field changed at a time. Each setting has its own process, and {seconds:g} s of",
        f"batches without the first; all take {took / 60:.0f} minutes on {machine['cores']} cores ({machine['cpu']}) with",
        f"{machine['threads']} threads, {machine['precision']}, torch {machine['packages']['torch']}, commit {machine['git']['sha'][:7]}",
        "([as JSON](results/growth.json)). The command writes this page and its figure, too.",
        "",
        "![Milliseconds for an env step, by part, and peak memory against each factor](results/growth.svg)",
        "",
        "The *exponent* is k in cost ∝ value^k, the slope of a line through all values on logarithmic axes; *at the end* is that between",
        "the two largest. Cost is the wall-clock time of one env step with all that belongs to it. Memory is the process's peak above",
        f"the {found['imports_mb']} MB of imports alone. The recipe's own values made {min(own):,.0f} to {max(own):,.0f} env steps/s in",
        "different measurements: differences of that size mean nothing.",
        "",
        "| factor | values | exponent | at the end | of the learner | of memory | reason |",
        "|---|---|---|---|---|---|---|",
    ]
    for factor in FACTORS:
        rows = found[factor.field]["rows"]
        at = [factor.at(row["value"]) for row in rows]
        whole = column(rows, "batch")
        above = [max(row["peak_mb"] - found["imports_mb"], 1) for row in rows]
        slopes = exponent(at, whole), exponent(at[-2:], whole[-2:]), exponent(at, column(rows, "learner")), exponent(at, above)
        cells = (f"{factor.name}, `{factor.field}`", f"{at[0]:,g} to {at[-1]:,g}", *(f"{slope:.2f}" for slope in slopes), factor.reason)
        text.append(f"| {' | '.join(cells)} |")
    for factor in FACTORS:
        text += ["", f"## {factor.name[0].upper()}{factor.name[1:]}", ""]
        text += [
            f"| `{factor.field}` | env steps/s | ms for an env step | env | policy | learner | peak memory |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in found[factor.field]["rows"]:
            mark = " (the recipe's)" if row["value"] == found["own"][factor.field] else ""
            taken = [f"{row['ms'][part]:.2f}" for part in PARTS]
            cells = (f"{row['value']}{mark}", f"{row['steps_per_second']:,.0f}", *taken, f"{row['peak_mb']:,} MB")
            text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def draw(found: dict[str, Any], path: Path) -> None:
    """One column for each factor: time above, memory below, on logarithmic axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    from jepakit.report.figures import COLOURS, LOOK, MARKERS

    titles = {"batch": "whole run", "env": "env", "policy": "policy", "learner": "learner"}
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(13, 5), layout="constrained")
        axes = figure.subplots(2, len(FACTORS), sharex="col", sharey="row", squeeze=False)
        for place, factor in enumerate(FACTORS):
            rows = found[factor.field]["rows"]
            at = [factor.at(row["value"]) for row in rows]
            above, below = axes[:, place]
            for index, part in enumerate(PARTS):
                above.plot(at, column(rows, part), color=COLOURS[index], marker=MARKERS[index], markersize=4, label=titles[part])
            below.plot(at, [row["peak_mb"] for row in rows], color=COLOURS[0], marker=MARKERS[0], markersize=4)
            below.axhline(found["imports_mb"], color=COLOURS[3], linestyle=":", label="imports alone")
            above.set(title=factor.name, xscale="log", yscale="log")
            below.set(xlabel=factor.field)
            below.set_xticks(at, [f"{value:g}" for value in at], rotation=45)
            below.xaxis.set_minor_formatter(NullFormatter())
            above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes[1, 0].set_ylim(bottom=0)
        axes[0, 0].set_ylabel("ms for an env step")
        axes[1, 0].set_ylabel("peak memory, MB")
        axes[0, 0].legend(fontsize=7, loc="lower left")
        axes[1, 0].legend(fontsize=7, loc="lower left")
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, then write figures, drawing and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", nargs="*", metavar="FIELD", help="measure only these again")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="timed for each setting")
    parser.add_argument("--write-only", action="store_true", help="measure nothing")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of growth.md and results/")
    options = parser.parse_args()
    if unknown := set(options.fields) - {factor.field for factor in FACTORS}:
        parser.error(f"not varied here: {', '.join(sorted(unknown))}; the fields are {', '.join(factor.field for factor in FACTORS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # which ends the run that is being measured, too
    kept = options.docs / "results" / "growth.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(kept.read_text()) if options.fields or options.write_only else {}
    if not options.write_only:
        found |= {"imports_mb": peak_mb(subprocess.Popen([sys.executable, "-c", IMPORTS])), "own": own_values()}
        for factor in FACTORS:
            if factor.field in options.fields or not options.fields:
                found[factor.field] = measure_factor(factor, options.seconds)
                kept.write_text(json.dumps(found, indent=1) + "\n")
    if missing := [factor.field for factor in FACTORS if factor.field not in found]:
        sys.exit(f"no page yet: {', '.join(missing)} not measured")
    draw(found, kept.with_suffix(".svg"))
    (options.docs / "growth.md").write_text(page(found))


if __name__ == "__main__":
    main()

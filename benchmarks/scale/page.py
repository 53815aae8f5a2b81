"""Writes the page of `benchmarks.scale` from its figures alone."""

from __future__ import annotations

from itertools import groupby
from textwrap import fill
from typing import Any


def page(found: dict[str, Any]) -> str:
    """The page in Markdown."""
    sim, measured, assumed = found["simulated"], found["measured"], found["simulated"]["assumed"]
    idle = found["idle_seconds"]
    machine = found["machine"]
    usual, short = sim["together"].values()
    most = usual["1000"]
    text = [
        "# 1,000 GPUs and a billion frames, on paper",
        "",
        "    python -m benchmarks.scale",
        "",
        "The command measures one core, simulates the rest with SimPy, and writes this page",
        "([as JSON](results/scale.json)). jepakit has not run on",
        "more machines than one: what follows is a plan, and says of each number whether it is measured or assumed.",
        "",
        "## Measured",
        "",
        "The main recipe on one idle core ([throughput](results/throughput.md)), for an env step of",
        f"{_si(measured['frame_bytes'])}B: simulator and drawing {_ms(idle['env'])}, policy {_ms(idle['policy'])},",
        f"learner {_ms(idle['learner'])} ({measured['epochs']} epochs), the rest {_ms(idle['other'])}.",
        f"An all-reduce sends {_si(measured['trained_bytes'])}B of gradients; a checkpoint has",
        f"{_si(measured['checkpoint_bytes'])}B in {measured['checkpoint_files']} files; records take",
        f"{measured['record_bytes']:.1f} bytes an env step",
        f"({machine['cpu']}, torch {machine['packages']['torch']}, commit {machine['git']['sha'][:7]}).",
        "",
        "The simulation, fed with one run, predicts two workers on this machine:",
        "",
        "| env steps/s | predicted | measured | error |",
        "|---|---|---|---|",
        *(f"| {name} | {row['predicted']:,.0f} | {row['measured']:,.0f} | {row['error']:+.0%} |" for name, row in found["check"].items()),
        "",
        "The first line is the same run measured twice, so it is the noise. The last line is predicted from the run recorded beside it,",
        "whose times are those used below. The model knows no shared caches, no memory bandwidth and no cost of messages between",
        "processes. That cost is what it misses with simulators in two processes, since Cart Pole's steps cost little.",
        "",
        "## Assumed",
        "",
        "| what | value |",
        "|---|---|",
        f"| a GPU beside one core here, encoder and learner | {assumed['gpu']:g} times as fast |",
        f"| an update, a call of the policy, however small | {_ms(assumed['launch'])}, {_ms(assumed['call'])} |",
        f"| cores for simulators beside each GPU | {assumed['cores']} |",
        f"| network of a GPU; a hop of an all-reduce | {_si(assumed['network'])}B/s; {assumed['hop'] * 1e6:.0f} µs |",
        f"| shared disk; to create a file | {_si(assumed['disk'])}B/s over {assumed['streams']} streams; {_ms(assumed['file'])} |",
        f"| times of a batch and of an update, over GPUs | vary by {assumed['variation']:.0%} |",
        f"| a GPU fails every | {assumed['failure_hours']:,.0f} h (Llama 3: 419 stops in 54 days on 16,384 GPUs, arXiv 2407.21783) |",
        "",
        "## One run on all GPUs",
        "",
        "Each GPU collects from its own envs and takes its share of every minibatch, and an",
        "update ends with an all-reduce of the gradients, as",
        "synchronous data parallelism does.",
        "",
    ]
    for (name, rows), job in zip(sim["together"].items(), sim["jobs"].values(), strict=True):
        text += [
            f"**{name.capitalize()}**: {job['envs']} envs a GPU, {job['steps']} steps each, minibatches an epoch: {job['minibatches']}.",
            "",
            "| GPUs | frames/s | of linear | a billion frames | learner batch | updates in all | frames | collecting | all-reduce |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for gpus, row in rows.items():
            share = row["frames_per_second"] / (int(gpus) * rows["1"]["frames_per_second"])
            text.append(
                f"| {int(gpus):,} | {_si(row['frames_per_second'])} | {share:.0%} | {_time(1e9 / row['frames_per_second'])} "
                f"| {row['learner_batch']:,.0f} | {row['updates']:,.0f} | {_si(row['bytes_per_second'])}B/s "
                f"| {row['share_collecting']:.0%} | {row['share_all-reduce']:.0%} |"
            )
        text.append("")
    text += [
        "**What breaks first is learning, not the machines.** With the recipe's rollouts a thousand GPUs make a billion frames in",
        f"{_time(1e9 / most['frames_per_second'])}, but in {most['updates']:,.0f} updates of",
        f"{most['learner_batch']:,.0f} rows; the recipe makes",
        f"{_recipes_updates(measured):,.0f} updates in its 100,000 frames, and no batch of that size has been tried here. Rollouts of",
        f"{sim['jobs']['short rollouts']['steps']} steps give {short['1000']['updates']:,.0f} updates, and cost"
        f" {1 - short['1000']['frames_per_second'] / most['frames_per_second']:.0%} of the speed.",
        "Gradients are small, so the network comes last. Frames never leave the GPU's own host.",
        "",
        "So a thousand GPUs should not share one run of this size. They should share a sweep:",
        "",
        "## A run on each GPU",
        "",
        "| 1,000 runs that save every | frames/s | of undisturbed | waiting for the disk | to the disk |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {_si(row['frames_per_second'])} | {row['of_undisturbed']:.0%} | {row['share_waiting_for_disk']:.0%} "
            f"| {_si(row['disk_bytes_per_second'])}B/s |"
            for name, row in sim["apart"].items()
        ),
        "",
        "Here the shared disk breaks first, as soon as it is slower than assumed: `checkpoint_every` counts env steps (10,000 by",
        "default), which a GPU makes in less than a second. Raise it with the speed, and keep runs on local disks where there are",
        "some. Listing runs costs what [reliability](reliability.md#thousands-of-runs-and-shared-disks) says.",
        "",
        "## How often to save, and what failures cost",
        "",
        "Young's rule (1974), for one run on all GPUs; *lost* is saving, work done again and restarts of three minutes.",
        "",
        "| GPUs | a failure every | a save takes | save every | lost |",
        "|---|---|---|---|---|",
        *(
            f"| {int(gpus):,} | {row['failure_every_h']:,.0f} h | {_ms(row['save_s'])} | {row['save_every_s']:,.0f} s | {row['lost']:.2%} |"
            for gpus, row in sim["saving"].items()
        ),
        "",
        "A replay changes that: a million steps hold "
        f"{_si(1e6 * measured['frame_bytes'])}B of frames, which checkpoints share ([replay](results/replay.json)).",
        "",
        "## How much rests on the assumptions",
        "",
        "One run, the recipe's rollouts, with one assumption changed at a time:",
        "",
        "| | frames/s, 1 GPU | frames/s, 1,000 GPUs | of linear | collecting | all-reduce |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {_si(row['1']['frames_per_second'])} | {_si(row['1000']['frames_per_second'])} "
            f"| {row['1000']['frames_per_second'] / row['1']['frames_per_second'] / 1000:.0%} "
            f"| {row['1000']['share_collecting']:.0%} | {row['1000']['share_all-reduce']:.0%} |"
            for name, row in sim["assuming"].items()
        ),
        "",
        "The GPU's speed and the cores beside it are what the frames/s stand or fall with, and how evenly GPUs work;",
        "measure both (`jepakit profile`) before you plan. The",
        "number of updates and the learner batch rest on no assumption. Not modelled: jitter",
        "of a shared network, slow nodes for hours, and the",
        "start of 1,000 processes, whose imports alone would read the same files 1,000 times.",
        "",
    ]
    return _filled(text)


def _filled(lines: list[str]) -> str:
    """The lines; those of a paragraph are filled."""
    out: list[str] = []
    for is_prose, part in groupby(lines, key=lambda line: bool(line) and not line.startswith(("|", "#", "    "))):
        block = list(part)
        out += [fill(" ".join(block), 140, break_long_words=False, break_on_hyphens=False)] if is_prose else block
    return "\n".join(out)


def _recipes_updates(measured: dict[str, Any]) -> float:
    return 100_000 / measured["minibatch"] * measured["epochs"]


def _si(value: float) -> str:
    for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g} {letter}"
    return f"{value:.3g} "


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:.0f} h"

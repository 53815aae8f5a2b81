"""Simulates workers, GPUs, a network and a shared disk on SimPy, from what one core measures and what is assumed of the rest."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import simpy

FRAMES = 1_000_000_000
GPUS = (1, 10, 100, 1000)
PIECES = 10  #: of the time between two checkpoints, after each of which env steps are counted
Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Measured:
    """One run of the main recipe on one core, without anything beside it."""

    seconds: dict[str, float]  #: of an env step, by part; `other` is the rest
    variation: dict[str, float]  #: standard deviation over mean, over batches
    envs: int
    steps: int  #: of each env in a batch
    epochs: int
    minibatch: int
    frame_bytes: int
    trained_bytes: int  #: of all parameters that an all-reduce sends
    checkpoint_bytes: int
    checkpoint_files: int
    record_bytes: float  #: in metrics.jsonl, an env step


@dataclass(frozen=True)
class Assumed:
    """What this machine cannot tell."""

    gpu: float = 100.0  #: times as fast as one core here, for encoder and learner
    launch: float = 0.002  #: seconds that an update takes however small it is
    call: float = 0.0005  #: seconds that a call of the policy takes however small it is
    cores: int = 16  #: beside each GPU, for simulators; as fast as those here
    network: float = 25e9  #: bytes/s of a GPU
    hop: float = 10e-6  #: seconds; an all-reduce needs 2·log2(GPUs) of them
    disk: float = 50e9  #: bytes/s of the shared disk, over all writers
    streams: int = 64  #: writers that it serves at once
    file: float = 0.002  #: seconds to create a file
    failure_hours: float = 50_000.0  #: of one GPU between failures: Llama 3's 419 in 54 days on 16,384 (arXiv 2407.21783)
    restart: float = 180.0  #: seconds
    variation: float = 0.1  #: standard deviation over mean of the time of a batch, or of an update, over GPUs


@dataclass(frozen=True)
class Job:
    """What each GPU does between two updates of the behaviour policy."""

    envs: int
    steps: int
    minibatches: int  #: an epoch


def on_cores(measured: Measured, runs: int, processes: int, cores: int, batches: int = 3) -> float:
    """Env steps a second of ``runs`` at once, each with its simulators in so many processes, where they share ``cores``."""
    env = simpy.Environment()
    free = simpy.Resource(env, cores)
    took, stack = measured.seconds, measured.envs

    def work(seconds: float) -> Steps:
        with free.request() as core:
            yield core
            yield env.timeout(seconds)

    def run() -> Steps:
        for _ in range(batches):
            for _ in range(measured.steps):
                yield env.process(work(took["policy"] * stack))
                yield env.all_of([env.process(work(took["env"] * stack / processes)) for _ in range(processes)])
            yield env.process(work((took["learner"] + took["other"]) * stack * measured.steps))

    for _ in range(runs):
        env.process(run())
    env.run()
    return float(runs * batches * measured.steps * stack / env.now)


def together(measured: Measured, assumed: Assumed, job: Job, gpus: int, rounds: int = 8) -> dict[str, float]:
    """One run on all GPUs: each collects, all wait for the slowest, and every update ends with an all-reduce."""
    env = simpy.Environment()
    noise = np.random.default_rng(0)
    spent = {"collecting": 0.0, "updates": 0.0, "all-reduce": 0.0}
    took = measured.seconds
    a_step = job.envs * took["env"] / assumed.cores + job.envs * took["policy"] / assumed.gpu + assumed.call
    rows = job.envs * job.steps / job.minibatches
    an_update = assumed.launch + rows * (took["learner"] + took["other"]) / measured.epochs / assumed.gpu
    reduce = 2 * measured.trained_bytes * (gpus - 1) / gpus / assumed.network + 2 * assumed.hop * np.ceil(np.log2(gpus))

    def run() -> Steps:
        for _ in range(rounds):
            started = env.now
            yield env.all_of([env.timeout(job.steps * a_step * factor) for factor in _factors(noise, assumed.variation, gpus)])
            spent["collecting"] += env.now - started
            for _ in range(measured.epochs * job.minibatches):
                slowest = an_update * max(_factors(noise, assumed.variation, gpus))
                yield env.timeout(slowest + reduce)
                spent["updates"] += slowest
                spent["all-reduce"] += float(reduce)

    env.process(run())
    env.run()
    frames = rounds * gpus * job.envs * job.steps
    return {
        "frames_per_second": frames / env.now,
        "updates_per_second": rounds * measured.epochs * job.minibatches / env.now,
        "learner_batch": rows * gpus,
        "updates": measured.epochs * job.minibatches * FRAMES / (gpus * job.envs * job.steps),
        "bytes_per_second": frames * measured.frame_bytes / env.now,
        **{f"share_{name}": seconds / env.now for name, seconds in spent.items()},
    }


def apart(measured: Measured, assumed: Assumed, job: Job, gpus: int, every_steps: float, until: float = 120.0) -> dict[str, float]:
    """A run on each GPU: nothing is shared but the disk, to which each saves every ``every_steps`` of its env steps."""
    env = simpy.Environment()
    writers = simpy.Resource(env, assumed.streams)
    done, waited = [0.0], [0.0]
    alone = together(measured, assumed, job, 1)["frames_per_second"]
    save = measured.checkpoint_bytes / (assumed.disk / assumed.streams) + measured.checkpoint_files * assumed.file
    noise = np.random.default_rng(0)

    def run() -> Steps:
        while True:
            for factor in _factors(noise, assumed.variation, PIECES):
                yield env.timeout(every_steps / PIECES / alone * factor)
                done[0] += every_steps / PIECES
            asked = env.now
            with writers.request() as writer:
                yield writer
                yield env.timeout(save)
            waited[0] += env.now - asked

    for _ in range(gpus):
        env.process(run())
    env.run(until)
    rate = done[0] / until
    return {
        "frames_per_second": rate,
        "of_undisturbed": rate / (alone * gpus),
        "share_waiting_for_disk": waited[0] / (until * gpus),
        "disk_bytes_per_second": rate * (measured.checkpoint_bytes / every_steps + measured.record_bytes),
    }


def _factors(noise: np.random.Generator, variation: float, count: int) -> list[float]:
    """How much slower or faster than usual; log-normal, of mean 1."""
    spread = np.sqrt(np.log(1 + variation**2))
    return list(noise.lognormal(-(spread**2) / 2, spread, count))


def saving(measured: Measured, assumed: Assumed, gpus: int) -> dict[str, float]:
    """How often one run on all GPUs should save (Young 1974), and what failures cost then."""
    seconds = measured.checkpoint_bytes / (assumed.disk / assumed.streams) + measured.checkpoint_files * assumed.file
    between = assumed.failure_hours * 3600 / gpus
    every = float(np.sqrt(2 * seconds * between))
    return {
        "save_s": seconds,
        "failure_every_h": between / 3600,
        "save_every_s": every,
        "lost": seconds / every + (every / 2 + assumed.restart) / between,
    }


def jobs(measured: Measured, assumed: Assumed) -> dict[str, Job]:
    """The recipe's batch spread over each GPU's cores, as it is; and one with as short rollouts as all GPUs allow."""
    envs = measured.envs * assumed.cores
    return {
        "the recipe's rollouts": Job(envs, measured.steps, round(measured.envs * measured.steps / measured.minibatch)),
        "short rollouts": Job(assumed.cores, 5, 1),
    }


def simulate(measured: Measured) -> dict[str, Any]:
    """All that the page shows."""
    assumed = Assumed()
    kinds = jobs(measured, assumed)
    first = next(iter(kinds.values()))
    others = {
        "as assumed": assumed,
        "GPU 10 times a core": replace(assumed, gpu=10.0),
        "GPU 1,000 times a core": replace(assumed, gpu=1000.0),
        "4 cores a GPU": replace(assumed, cores=4),
        "64 cores a GPU": replace(assumed, cores=64),
        "times vary as measured beside other work": replace(assumed, variation=measured.variation["env"]),
        "network of 1.25 GB/s, 100 µs": replace(assumed, network=1.25e9, hop=100e-6),
    }
    alone = together(measured, assumed, first, 1)["frames_per_second"]
    slow = replace(assumed, disk=2e9)
    saves = {
        "10,000 env steps": (assumed, 1e4),
        "10,000 env steps, to a disk of 2 GB/s": (slow, 1e4),
        "10 s": (assumed, 10 * alone),
        "10 s, to a disk of 2 GB/s": (slow, 10 * alone),
    }
    return {
        "together": {name: {gpus: together(measured, assumed, job, gpus) for gpus in GPUS} for name, job in kinds.items()},
        "jobs": {name: asdict(job) for name, job in kinds.items()},
        "apart": {name: apart(measured, disk, first, GPUS[-1], steps) for name, (disk, steps) in saves.items()},
        "assuming": {name: {gpus: together(measured, other, first, gpus) for gpus in (1, 1000)} for name, other in others.items()},
        "saving": {gpus: saving(measured, assumed, gpus) for gpus in GPUS},
        "assumed": asdict(assumed),
    }

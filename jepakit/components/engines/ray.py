"""The engine ``ray``."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from jepakit.components.engines.worker import News, Stamp, Worker, read_files, write_home
from jepakit.errors import UserError, told
from jepakit.protocols import Ended, Job
from jepakit.registry import register

LOOK_SECONDS = 1.0  #: between two looks at a run
HEAD_SECONDS = 20.0  #: without an answer, the head is gone; Ray's own library ends this process after 60
STORE_BYTES = 100 * 1024**2  #: of a cluster that is started for the sweep
#: Ray would kill a run with its worker; so it gets the kernel's SIGTERM at its parent's death, and saves.
LET_SAVE = {"RAY_kill_child_processes_on_worker_exit": "false"}


@register("engine", "ray")
class Ray:
    """A Ray cluster: each run has an actor, which starts it as a process of its own where there is room.

    A run whose worker, node or own process is killed goes on from its newest checkpoint, on any node. When the sweep's process or the
    cluster's head is killed, Ray ends the actors, and the runs save and end (Linux); the same command goes on with them, once they have
    ended. All nodes need jepakit. Ray's usage statistics are off in a cluster that is started for the sweep.

    Args:
        address: Of a running cluster, such as ``auto`` or ``10.0.0.1:6379``; null: one of this machine alone, which ends with the sweep.
        cpus: CPUs for a run; null: as many as its threads.
        gpus: GPUs for a run, fractions share one; null: one if its recipe says ``device: cuda``.
        memory_gb: Memory that a run reserves; null: none.
        resources: Ray's own resources that a run takes, such as ``{fast_disk: 1}``.
        placement: ``pack`` fills a node before the next, ``spread`` spreads runs over all nodes.
        retries: How often a run that is lost is started again.
        shared: Whether all nodes see the sweep's folder at the same path. Otherwise a run's files travel through Ray's object store.
        carry_seconds: Between two times that a run's files are carried home, if the folder is not shared: what a lost node loses at most.
    """

    requires: ClassVar[dict[str, str]] = {"ray": "pip install 'jepakit[ray]'"}
    remote = True

    def __init__(
        self,
        *,
        address: str | None = None,
        cpus: PositiveFloat | None = None,
        gpus: NonNegativeFloat | None = None,
        memory_gb: PositiveFloat | None = None,
        resources: dict[str, Annotated[float, Field(gt=0)]] = {},  # noqa: B006 - never changed
        placement: Literal["pack", "spread"] = "pack",
        retries: NonNegativeInt = 3,
        shared: bool = True,
        carry_seconds: PositiveFloat = 30.0,
    ) -> None:
        if address and address.startswith("ray://"):
            raise ValueError("address: not through Ray's client: run the command on a machine of the cluster, with `address: auto`")
        self.address = address
        self.cpus, self.gpus, self.memory_gb, self.resources = cpus, gpus, memory_gb, resources
        self.placement, self.retries, self.carries, self.carry_seconds = placement, retries, not shared, carry_seconds
        self.ours = False
        self.going: list[RayJob] = []

    def begin(self, folder: Path, note: Callable[[str], None]) -> None:
        """Join the cluster, or start one."""
        self.note = note
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if self.address is None:
            os.environ.update(LET_SAVE)
        import ray

        self.ray = ray
        if ray.is_initialized():  # by the user's own script
            self.ours = False
        else:
            self._init()
        self.worker = ray.remote(Worker)
        self.head = str(ray.get_runtime_context().gcs_address)
        self.answered = self.asked = time.monotonic()

    def _init(self) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "critical"}
        if self.address is None:
            quiet |= {"num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()}
            quiet |= {"include_dashboard": False, "object_store_memory": STORE_BYTES, "_node_ip_address": "127.0.0.1"}
        try:
            self.ray.init(address=self.address or "local", **quiet)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise UserError(f"the engine `ray` cannot join a cluster at {self.address or 'this machine'}: {told(error)}") from error
        self.ours = True

    def at_a_time(self, jobs: Sequence[Job]) -> int:
        """All of them: Ray has a queue."""
        return max(1, len(jobs))

    def start(self, jobs: Sequence[Job]) -> list[RayJob]:
        """Give each job an actor. Ray places it when there is room."""
        for wanted in {tuple(sorted(self._wanted(job).items())) for job in jobs}:
            self._warn_of_too_much(dict(wanted))
        started = [RayJob(self, job, self._actor(job)) for job in jobs]
        self.going = [going for going in self.going if not going.ended] + started
        return started

    def find(self, job: Job) -> None:
        """None: the actors of an earlier process end with it, and the lock says whether their run has ended, too."""

    def end(self) -> None:
        """Leave the cluster; one that was started for the sweep ends."""
        if self.ours:
            self.ray.shutdown()

    def check_head(self) -> None:
        """Make sure every second that the cluster's head still answers.

        Raises:
            ConnectionError: It has not answered for a while.
        """
        now = time.monotonic()
        if now - self.asked < LOOK_SECONDS:
            return
        self.asked = now
        host, _, port = self.head.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_SECONDS).close()
            self.answered = now
        except OSError as error:
            if now - self.answered > HEAD_SECONDS:
                for going in self.going:
                    going.ended = going.ended or Ended(1, why="Ray's head is gone")
                gone = ConnectionError(f"Ray's head at {self.head} has not answered for {HEAD_SECONDS:.0f} s")
                gone.add_note("the runs save and end with their workers; the same command goes on with them")
                raise gone from error

    def alive(self, host: str) -> bool:
        """Whether a node of this name is in the cluster."""
        return any(node["Alive"] and node["NodeManagerHostname"] == host for node in self.ray.nodes())

    def _wanted(self, job: Job) -> dict[str, float]:
        wanted = {"CPU": job.cpus if self.cpus is None else self.cpus, "GPU": job.gpus if self.gpus is None else self.gpus}
        memory = {"memory": self.memory_gb * 1024**3} if self.memory_gb else {}
        return {**wanted, **memory, **self.resources}

    def _warn_of_too_much(self, wanted: Mapping[str, float]) -> None:
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
            return
        told = ", ".join(f"{name} {amount:g}" for name, amount in wanted.items() if amount)
        if self.address is None and self.ours:
            raise UserError(f"the engine `ray`: this machine does not have what a run wants ({told})")
        self.note(f"notice: no node of the cluster has what a run wants ({told}): it waits for one")

    def _actor(self, job: Job) -> Any:
        wanted = self._wanted(job)
        options: dict[str, Any] = {"num_cpus": wanted.pop("CPU"), "num_gpus": wanted.pop("GPU"), "memory": wanted.pop("memory", None)}
        options |= {"resources": wanted, "name": None, "max_restarts": 0}
        options["scheduling_strategy"] = "SPREAD" if self.placement == "spread" else "DEFAULT"
        if self.address is not None or not self.ours:
            options["runtime_env"] = {"env_vars": LET_SAVE}
        return self.worker.options(**options).remote(job, read_files(job) if self.carries else None)


class RayJob:
    """An actor, and the question to it that is not answered yet."""

    def __init__(self, engine: Ray, job: Job, actor: Any) -> None:
        self.engine, self.job, self.actor = engine, job, actor
        self.host = ""
        self.asked = actor.where.remote()
        self.next_look = self.next_carry = 0.0
        self.stamps: dict[str, Stamp] = {}
        self.ended: Ended | None = None

    @property
    def queued(self) -> bool:
        """True until the actor has a place."""
        return not self.host

    def poll(self) -> Ended | None:
        """Take the actor's answer, if there is one, and ask again."""
        ray = self.engine.ray
        self.engine.check_head()
        if self.ended or (self.asked is None and time.monotonic() < self.next_look):
            return self.ended
        if self.asked is None:
            carry = self.engine.carries and time.monotonic() >= self.next_carry
            self.asked = self.actor.look.remote(self.stamps, carry)
        if not ray.wait([self.asked], timeout=0)[0]:
            return None
        try:
            answer = ray.get(self.asked)
        except ray.exceptions.ActorUnavailableError:
            answer = self.host or None  # for a moment; ask again
        except (ray.exceptions.RayActorError, ray.exceptions.RaySystemError) as error:
            self.ended = self._lost(error)
            return self.ended
        except ray.exceptions.RayTaskError as error:
            self.ended = Ended(1, why=str(error).strip().splitlines()[-1])
            return self.ended
        self.asked = None
        if isinstance(answer, News):
            self._take(answer)
        elif answer:
            self.host = answer[0]
        return self.ended

    def _take(self, news: News) -> None:
        self.next_look = time.monotonic() + LOOK_SECONDS
        if news.stamps:
            self.next_carry = time.monotonic() + self.engine.carry_seconds
            write_home(self.job, news)
            self.stamps = news.stamps
        if news.code is not None:
            killed = news.code == -9
            self.ended = Ended(news.code, lost=killed, host=self.host if killed else "")
            self._let_go()

    def _lost(self, error: Exception) -> Ended:
        gone = bool(self.host) and not self.engine.alive(self.host)
        what = (
            f"the node {self.host} is gone"
            if gone
            else f"its worker on {self.host} has died"
            if self.host
            else f"it found no place: {told(error)}"
        )
        return Ended(1, lost=True, why=what, host=self.host if gone else "")

    def stop(self) -> None:
        """Let the run save; a queued job leaves the queue."""
        if self.queued:
            self.kill()
        else:
            self.actor.stop.remote()

    def kill(self) -> None:
        """End the run and the actor."""
        if self.ended is None:
            if not self.queued:
                ask = self.actor.kill.remote()
                self.engine.ray.wait([ask], timeout=5)
            self.ended = Ended(-9 if not self.queued else 130)
            self._let_go()

    def _let_go(self) -> None:
        if self.engine.carries and not self.queued:
            self.engine.ray.wait([self.actor.tidy.remote()], timeout=5)
        self.engine.ray.kill(self.actor)

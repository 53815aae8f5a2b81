"""The processes of one run that `torchrun` has started: how they join, agree, and leave it to the first to speak and to write."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from jepakit.components.shared import ranks
from jepakit.errors import UserError, shown

T = TypeVar("T")

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  #: that torchrun sets
PATIENCE = timedelta(hours=6)  #: how long a rank waits for the others: rank 0 evaluates meanwhile
SAME_MISTAKE = timedelta(seconds=10)  #: how long a rank waits for the others to come to the same mistake
HEARD = "heard"  #: how many ranks know of rank 0's mistake


def launched() -> bool:
    """Whether this process is one of several that train one run."""
    return all(name in os.environ for name in VARIABLES) and os.environ["WORLD_SIZE"] not in ("", "1")


def is_first() -> bool:
    """Whether this process prints the run's result."""
    return not launched() or os.environ["RANK"] == "0"


def local_rank() -> int:
    """This process's number among those on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if launched() else 0


def local_size() -> int:
    """How many of the processes are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if launched() else 1


def _check_variables() -> None:
    """Check what the environment says about the ranks.

    Raises:
        UserError: A variable is no number, or the rank is none of the ranks.
    """
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT"):
        value = os.environ.get(name, "0")
        if not (value.isascii() and value.isdigit()):
            raise UserError(f"{name}={shown(value)}: a whole number was expected; torchrun sets it, else leave it unset")
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if rank >= size:
        raise UserError(f"RANK={rank}: there are WORLD_SIZE={size} ranks, numbered from 0; torchrun sets both")


@contextmanager
def joined() -> Iterator[None]:
    """The process group of the ranks, if torchrun started this process; else nothing.

    A mistake that every rank finds is reported by rank 0 alone.

    Raises:
        UserError: What this rank alone has found, or a variable of torchrun's that makes no sense.
    """
    if not launched() or dist.is_initialized():
        yield
        return
    _check_variables()
    store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield
    except UserError as error:
        if rank == 0:
            store.set("mistake", str(error))
            _wait_for(size - 1, store)
        elif _reported(store) == str(error):
            time.sleep(1)  # torchrun ends all processes once one has ended: rank 0 speaks first
            raise SystemExit(2) from None
        raise
    finally:
        dist.destroy_process_group()


def _reported(store: Any) -> str | None:
    try:
        store.wait(["mistake"], SAME_MISTAKE)
    except RuntimeError:  # rank 0 has found none
        return None
    said = str(store.get("mistake").decode())
    store.add(HEARD, 1)
    return said


def _wait_for(others: int, store: Any) -> None:
    """Let the other ranks hear of rank 0's mistake before it leaves: the store goes with it."""
    until = time.monotonic() + SAME_MISTAKE.total_seconds()
    while store.add(HEARD, 0) < others and time.monotonic() < until:
        time.sleep(0.05)


def first_says(make: Callable[[], T]) -> T:
    """What ``make`` returns on rank 0, on every rank; the others do not call it.

    Raises:
        UserError: What it raised on rank 0, on every rank.
    """
    if ranks.size() == 1:
        return make()
    said: list[Any] = [None, None]  #: value, mistake
    if ranks.rank() == 0:
        try:
            said = [make(), None]
        except UserError as error:
            said = [None, error]
    dist.broadcast_object_list(said)
    value, mistake = said
    if mistake is not None:
        raise mistake
    made: T = value
    return made


def on_first(make: Callable[[], T]) -> T | None:
    """Call ``make`` on rank 0 alone, and wait for it: what it returns, there, and None on the other ranks.

    Raises:
        UserError: What it raised on rank 0, on every rank.
    """
    if ranks.size() == 1:
        return make()
    made: list[T] = []
    first_says(lambda: made.append(make()))
    return made[0] if made else None


def from_all(value: T) -> list[T]:
    """The ``value`` of every rank, in their order."""
    if ranks.size() == 1:
        return [value]
    box: list[Any] = [None] * ranks.size()
    dist.all_gather_object(box, value)
    return box


def any_rank(flag: bool) -> bool:
    """Whether ``flag`` is true on some rank."""
    return bool(ranks.summed(torch.tensor(int(flag)))) if ranks.size() > 1 else flag


def seed_of_rank(seed: int) -> int:
    """What this rank's generators of random numbers start from: ``seed`` itself on rank 0, another number on each of the others."""
    return seed if ranks.rank() == 0 else zlib.crc32(f"{seed} rank {ranks.rank()}".encode())

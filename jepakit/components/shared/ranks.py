"""Batch statistics over all ranks: the processes that train one run, each with its own rows of every minibatch.

With one process every function here returns what it was given, or what torch computes from it, bit for bit.

Every rank must call the same functions in the same order: each call waits for the others. What one rank does for itself, such as a periodic
evaluation, goes inside `alone`.

Gradients are averaged over ranks after the backward pass. So a term's loss on each rank is either the mean over that rank's rows, or, if it
couples rows, the loss over all rows: then the term computes it from `gathered` rows, and the same number results on every rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_is_alone = False  #: inside `alone`


def size() -> int:
    """How many ranks train this run; 1 if it is one process."""
    return dist.get_world_size() if not _is_alone and dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return dist.get_rank() if size() > 1 else 0


@contextmanager
def alone() -> Iterator[None]:
    """What is computed inside takes its statistics over this process's rows, and waits for no other rank."""
    global _is_alone
    before, _is_alone = _is_alone, True
    try:
        yield
    finally:
        _is_alone = before


def gathered(rows: Tensor) -> Tensor:
    """The rows of all ranks, in the order of the ranks: ``rows`` [M, *] -> [ΣM, *]; M may differ between ranks.

    Differentiable: a row's gradient is the sum of what all ranks' losses send to it.
    """
    if size() == 1:
        return rows
    found: Tensor = _Gathered.apply(rows, _counts(rows))
    return found


def place(rows: Tensor) -> int:
    """The position of this rank's first row in ``gathered(rows)``."""
    return sum(_counts(rows)[: rank()]) if size() > 1 else 0


def mean(rows: Tensor) -> Tensor:
    """A mean over rows, as a loss, where the number of rows differs between ranks: each row of each rank has the same weight.

    The mean of all ranks' results is the mean over all ranks' entries.
    """
    if size() == 1:
        return rows.mean()
    return rows.sum() * size() / summed(torch.tensor(rows.numel(), device=rows.device))


def averaged(values: Tensor) -> Tensor:
    """The mean of ``values`` over ranks; its gradient goes to this rank's values as if they had not been averaged."""
    if size() == 1:
        return values
    found: Tensor = _Averaged.apply(values)
    return found


@torch.no_grad()
def summed(values: Tensor) -> Tensor:
    """The sum of ``values`` over ranks, without gradient; exact for integers."""
    if size() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over ranks, with one message for all of them."""
    if size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= size()
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


@torch.no_grad()
def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace each gradient by its mean over ranks. A parameter that some ranks did not use has a gradient of zeros there."""
    if size() == 1:
        return
    users = summed(torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int64)).tolist()
    used = [parameter for parameter, count in zip(parameters, users, strict=True) if count]
    for parameter in used:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    average([parameter.grad for parameter in used if parameter.grad is not None])


def share_batch_norms(module: nn.Module) -> None:
    """Make every batch normalisation in ``module`` use the statistics of all ranks' rows, and keep the same running ones on each rank.

    Each rank normalises all rows and keeps its own. `torch.nn.SyncBatchNorm` needs a GPU.
    """
    if size() == 1:
        return
    for each in module.modules():
        if isinstance(each, _BatchNorm):
            shared = _OverRanks()
            each.register_forward_pre_hook(shared.all_rows)
            each.register_forward_hook(shared.own_rows)


@torch.no_grad()
def align_buffers(module: nn.Module) -> None:
    """Make the buffers of ``module`` the same on all ranks, as a checkpoint holds one set.

    Acting has moved the running statistics of batch normalisations apart: they become their mean. Any other buffer, such as a running mean
    of a rank's own rows, becomes rank 0's, as in PyTorch's DistributedDataParallel.
    """
    if size() == 1:
        return
    norms = [each for each in module.modules() if isinstance(each, _BatchNorm)]
    average([each for norm in norms for each in (norm.running_mean, norm.running_var) if each is not None])
    if buffers := list(module.buffers()):
        held = [buffer.reshape(-1).view(torch.uint8) for buffer in buffers]  # any dtype in one message
        message = torch.cat(held)
        dist.broadcast(message, 0)
        for buffer, part in zip(buffers, message.split([len(each) for each in held]), strict=True):
            buffer.copy_(part.clone().view(buffer.dtype).view_as(buffer))


class _OverRanks:
    """The hooks of one batch normalisation: before it the rows of all ranks, behind it this rank's own."""

    def all_rows(self, norm: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (rows,) = args
        if not norm.training and norm.running_mean is not None:
            self.own = slice(None)
            return args
        first = place(rows)
        self.own = slice(first, first + len(rows))
        return (gathered(rows),)

    def own_rows(self, _: nn.Module, __: tuple[Tensor, ...], normalised: Tensor) -> Tensor:
        return normalised[self.own]


def _counts(rows: Tensor) -> list[int]:
    """How many rows each rank has."""
    counts = torch.zeros(size(), dtype=torch.int64, device=rows.device)
    counts[rank()] = len(rows)
    return [int(count) for count in summed(counts)]


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.first, ctx.count = sum(counts[: rank()]), len(rows)
        sent = rows.detach().contiguous()
        sent = sent.view(torch.uint8) if sent.dtype == torch.bool else sent
        padded = torch.cat((sent, sent.new_zeros(max(counts) - len(sent), *sent.shape[1:])))  # a message has the same size on every rank
        received = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(received, padded)
        return torch.cat([part[:count] for part, count in zip(received, counts, strict=True)]).view(rows.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.first : ctx.first + ctx.count], None


class _Averaged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return summed(values) / size()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]

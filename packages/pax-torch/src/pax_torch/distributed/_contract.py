"""What a call over processes is given, compared with what the others give before anything is sent.

The processes sum a hash of the structure first. So a tree that differs is an error in all of them, as is
an error that only one of them has, and no process waits for data, or takes that of another call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist

from pax_torch._compat import default_store, is_without_values

# The hashes that a group without collectives on the CPU has compared, and how many calls each has made.
_compared: WeakKeyDictionary[Any, set[int]] = WeakKeyDictionary()
_calls: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_SECONDS_FOR_A_NAME = 1.0


class Terms(NamedTuple):
    """What all processes must agree about.

    Attributes:
        call: what is called, as in "psum".
        leaves: each leaf with its shape and dtype.
        failure: what is wrong in this process alone.
    """

    call: str
    leaves: tuple[str, ...] = ()
    failure: str | None = None


def agree(terms: Terms, group: Any, error: Exception | None = None) -> None:
    """Compare the terms of a call in all processes of a group.

    It costs a sum of two numbers over the group; where that needs an accelerator, only once for the same
    terms. A call that is traced is not compared.

    Args:
        terms: those of this process.
        group: the group; None for all processes.
        error: what is raised in this process after all others have heard of it.

    Raises:
        ValueError: the terms of another process differ.
        RuntimeError: another process has ended, or has not made the call in the time of the group.
    """
    if torch.compiler.is_compiling() or is_without_values():
        if error is not None:
            raise error
        return
    group = dist.group.WORLD if group is None else group
    device, key = _device(group), _hash(terms)
    known = _compared.setdefault(group, set())
    if device != "cpu" and key in known:
        return
    if not _is_common(key, terms.call, group, device):
        found: list[Any] = [None] * dist.get_world_size(group)
        dist.all_gather_object(found, terms, group=group)
        if error is None:
            raise ValueError(_difference(found, dist.get_process_group_ranks(group)))
    if error is not None:
        raise error
    if device != "cpu":
        known.add(key)


def _device(group: Any) -> str:
    """Return "cpu" where the group sums there, else the accelerator."""
    if "cpu" in str(dist.get_backend_config(group)):
        return "cpu"
    return torch.accelerator.current_accelerator().type  # pyright: ignore[reportOptionalMemberAccess]


def _hash(terms: Terms) -> int:
    digest = hashlib.blake2b(repr(terms).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def _is_common(key: int, call: str, group: Any, device: str) -> bool:
    _calls[group] = count = _calls.get(group, 0) + 1
    extremes = torch.tensor([key, -key], dtype=torch.int64, device=device)
    try:
        dist.all_reduce(extremes, op=dist.ReduceOp.MAX, group=group)
        largest, smallest = extremes.tolist()
    except RuntimeError as error:
        raise RuntimeError(
            f"{call} waits for all processes of its group, and {_silent(group, count)} ended, or did "
            f"not make the call in the time that the group waits (`timeout` of init_process_group): {error}"
        ) from None
    return largest == -smallest


def _silent(group: Any, count: int) -> str:
    """Name the processes that are not waiting in this call, as far as they can be asked."""
    ranks = dist.get_process_group_ranks(group)
    keys = [f"pax_torch/{'.'.join(map(str, ranks))}/{count}/{rank}" for rank in ranks]
    absent = []
    try:
        store = default_store()
        store.set(keys[dist.get_rank(group)], b"here")
        for rank, key in zip(ranks, keys, strict=True):
            if not _is_set(store, key):
                absent.append(rank)
    except Exception:  # the process that keeps the store has ended
        absent = []
    return " and ".join(f"rank {rank}" for rank in absent) or "one of them"


def _is_set(store: Any, key: str) -> bool:
    from datetime import timedelta

    try:
        store.wait([key], timedelta(seconds=_SECONDS_FOR_A_NAME))
    except Exception:
        return False
    return True


def _difference(found: Sequence[Terms], ranks: Sequence[int]) -> str:
    """Say in which process, and at which leaf, the terms differ from those of most."""
    for rank, terms in zip(ranks, found, strict=True):
        if terms.failure is not None:
            return f"{terms.call} was not called in all processes, since rank {rank} has an error: {terms.failure}"
    usual = max(found, key=list(found).count)
    here = ranks[found.index(usual)]
    told = [
        _told(rank, terms, here, usual)
        for rank, terms in zip(ranks, found, strict=True)
        if terms != usual
    ]
    return f"All processes must give {usual.call} trees of the same leaves: {'; '.join(told)}."


def _told(rank: int, terms: Terms, other: int, usual: Terms) -> str:
    if terms.call != usual.call:
        return f"rank {rank} calls {terms.call}, where rank {other} calls {usual.call}"
    mine, theirs = list(terms.leaves), list(usual.leaves)
    place = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), None)
    if place is None:
        place = min(len(mine), len(theirs))
    here, there = ((x[place] if place < len(x) else "no more leaf") for x in (mine, theirs))
    return f"rank {rank} has {here} where rank {other} has {there}"

"""What processes give to one array, compared before it is made.

The processes tell each other hashes through the service that `jax.distributed.initialize` starts, not
through the devices. So those that differ are an error in all processes, in a bounded time.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any

import jax

from pax_jax._compat import distributed_client

SECONDS = 120.0
_counters: dict[str, Any] = {}


def processes_of(devices: Any) -> list[int]:
    """Return the processes that devices belong to."""
    return sorted({device.process_index for device in devices})


def agree(
    what: str,
    own: dict[str, str],
    processes: Sequence[int],
    seconds: float = SECONDS,
    remedy: str = "",
) -> None:
    """Compare what is given in several processes, each of which makes the same calls in one order.

    Args:
        what: the call, as in "shard_batch".
        own: what this process gives, by the name of each part. A value that starts with "error: " is
            what is wrong in this process.
        processes: the processes that make the call.
        seconds: how long to wait for the others.
        remedy: what to do where they differ.

    Raises:
        ValueError: another process gives something else.
        RuntimeError: another process has ended, or has not made the call in that time.
    """
    client, rank = distributed_client(), jax.process_index()
    if client is None or len(processes) < 2 or rank not in processes:
        return
    group = f"pax_jax/{what}/{'.'.join(map(str, processes))}"
    count = next(_counters.setdefault(group, itertools.count()))
    digest = hashlib.blake2b(json.dumps(own).encode(), digest_size=12).hexdigest()
    told = _exchanged(client, f"{group}/{count}", digest, processes, seconds)
    if len(set(told.values())) > 1:
        texts = _exchanged(client, f"{group}/{count}/all", json.dumps(own), processes, seconds)
        given = {other: json.loads(text) for other, text in texts.items()}
        raise ValueError(_difference(what, given) + remedy)
    if count > 1:  # all have read what was told two calls ago
        client.key_value_delete(f"{group}/{count - 2}/{rank}")


def _exchanged(
    client: Any, key: str, text: str, processes: Sequence[int], seconds: float
) -> dict[int, str]:
    rank, limit = jax.process_index(), int(1000 * seconds)
    client.key_value_set(f"{key}/{rank}", text)
    found = {}
    for other in processes:
        try:
            found[other] = client.blocking_key_value_get(f"{key}/{other}", limit)
        except Exception as error:  # of the service, which has no class of its own
            raise RuntimeError(
                f"Process {other} did not make the call `{key.split('/')[1]}` that process {rank} makes, "
                f"within {seconds:g} seconds, or has ended ({str(error).splitlines()[0]}): all processes of "
                "the mesh make the same calls in the same order."
            ) from None
    return found


def _difference(what: str, given: dict[int, dict[str, str]]) -> str:
    for rank, own in given.items():
        for name, value in own.items():
            if value.startswith("error: "):
                return (
                    f"{what} cannot go on, since process {rank} has an error at {name}: {value[7:]}"
                )
    ranks = list(given)
    usual = max(given.values(), key=list(given.values()).count)
    there = next(rank for rank in ranks if given[rank] == usual)
    told = []
    for rank in ranks:
        name = next((x for x in [*usual, *given[rank]] if usual.get(x) != given[rank].get(x)), None)
        if name is not None:
            mine, theirs = (own.get(name, "no such leaf") for own in (given[rank], usual))
            told.append(f"at {name} process {rank} has {mine}, and process {there} has {theirs}")
    return f"{what} must be given parts that fit together in all processes: {'; '.join(told)}."

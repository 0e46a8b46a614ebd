"""The processes that save and load one checkpoint: they tell each other what each has, and what failed."""

from __future__ import annotations

import collections
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from pax_jax._compat import distributed_client

_PATIENCE = 600  # seconds
_GRACE = 60  # seconds in which the others end what has failed
_PAUSE = 0.05
_counts: collections.Counter[str] = collections.Counter()


class Failed(RuntimeError):
    """Another process has failed, or does not answer."""


class Processes:
    """All processes of this program.

    Args:
        subject: what they do together, the same in all of them: the directory.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.count = jax.process_count()
        self.index = jax.process_index()
        self._client = distributed_client() if self.count > 1 else None

    def exchange(self, value: Any) -> list[Any]:
        """Return what each process has given, by its number; each waits for all others.

        Args:
            value: anything that JSON can hold.

        Raises:
            Failed: another process has not called this within ten minutes.
        """
        if self.count == 1:
            return [value]
        if self._client is None:
            return _gathered(json.dumps(value))
        name = self._next("exchange")
        self._client.key_value_set(f"{name}/{self.index}", json.dumps(value))
        values = [json.loads(self._get(f"{name}/{i}", i)) for i in range(self.count)]
        self._forget("exchange", f"/{self.index}")
        return values

    @contextlib.contextmanager
    def together(self, what: str, is_shared: bool = True) -> Iterator[None]:
        """Do something that fails in all processes if it fails in one.

        Args:
            what: what is done, for the message of the others.
            is_shared: whether the others do it too.

        Raises:
            ValueError: it has failed in another process.
        """
        if not is_shared or self.count == 1:
            yield
            return
        try:
            yield
        except Exception as error:
            self.exchange(f"{type(error).__name__}: {error}")
            raise
        for index, reason in enumerate(self.exchange(None)):
            if reason is not None:
                raise ValueError(f"{what} has failed in process {index}: {reason}")

    def _get(self, name: str, index: int) -> str:
        assert self._client is not None
        try:
            return self._client.blocking_key_value_get(name, 1000 * _PATIENCE)
        except jax.errors.JaxRuntimeError as error:
            raise Failed(
                f"Process {index} has not come to {self._subject} within {_PATIENCE} s. All processes save "
                "and load checkpoints together."
            ) from error

    def task(self) -> Task:
        """Return what this process does next in the background, after all others have ended the last."""
        if not self.index:
            self._forget("task", "")
        return Task(self._client, self._next("task"), self)

    def _next(self, kind: str) -> str:
        _counts[f"{kind} {self._subject}"] += 1
        return f"pax_jax/{kind}/{self._subject}/{_counts[f'{kind} {self._subject}']}"

    def _forget(self, kind: str, what: str) -> None:
        """Delete what was told at the time before, which all processes are past."""
        last = _counts[f"{kind} {self._subject}"] - (kind == "exchange")
        if last > 0 and self._client is not None:
            self._client.key_value_delete(f"pax_jax/{kind}/{self._subject}/{last}{what}")


class Task:
    """Work in the background that all processes do, and that ends in all of them if it fails in one."""

    def __init__(self, client: Any, name: str, processes: Processes) -> None:
        self._client = client
        self._name = name
        self._processes = processes

    def fail(self, reason: str) -> None:
        """Tell the others that it has failed here; the first process waits until it has in all of them."""
        if self._client is None:
            return
        self._client.key_value_set(f"{self._name}/failed/{self._processes.index}", reason)
        end = time.monotonic() + _GRACE
        while not self._processes.index and time.monotonic() < end:
            if len(self._failures()) == self._processes.count:
                return
            time.sleep(_PAUSE)

    def _failures(self) -> list[tuple[str, str]]:
        return self._client.key_value_dir_get(f"{self._name}/failed/")

    def barrier(self, *, key: str, timeout_ms: int) -> None:
        """Wait until all processes are here.

        Raises:
            Failed: one of them has failed, or does not come in time.
        """
        if self._client is None:
            return
        here, processes = f"{self._name}/barrier {key}/", self._processes
        self._client.key_value_set(f"{here}{processes.index}", "")
        end = time.monotonic() + min(timeout_ms / 1000, _PATIENCE)
        while True:
            for name, reason in self._failures():
                raise Failed(f"it failed in process {name.rpartition('/')[2]}: {reason}")
            if len(self._client.key_value_dir_get(here)) == processes.count:
                return
            if time.monotonic() > end:
                raise Failed(f"not all processes came within {_PATIENCE} s")
            time.sleep(_PAUSE)


def _gathered(text: str) -> list[Any]:
    """Return the texts of all processes by way of arrays on their devices."""
    from jax.experimental import multihost_utils  # slow to import

    data = np.frombuffer(text.encode(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.asarray(data.size))).reshape(-1)
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: data.size] = data
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]

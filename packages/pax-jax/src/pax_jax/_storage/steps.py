"""A directory of checkpoints: a folder for each step, and one process that saves."""

from __future__ import annotations

import contextlib
import fcntl
import operator
import os
import time
import weakref
from typing import Any

from pax_jax._storage.files import sync, sync_tree

_UNFINISHED = (
    ".orbax-checkpoint-tmp"  # in the names of folders that orbax, and this, take for leftovers
)
_PATIENCE = 1.0  # seconds in which another that saves may end
_locks: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def checked_step(step: Any) -> int:
    """Return the number of a step as an int.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is negative.
    """
    number = _integer(step)
    if number is None:
        raise TypeError(
            f"Step {step!r} is of type {type(step).__name__}, and the number of a step is an int."
        )
    if number < 0:
        raise ValueError(f"Step {number} is negative, and the number of a step is 0 or more.")
    return number


def checked_count(keep: Any) -> int:
    """Return how many checkpoints are kept as an int.

    Raises:
        ValueError: it is less than 1, or no integer.
    """
    number = _integer(keep)
    if number is None or number < 1:
        raise ValueError(
            f"keep is {keep!r}, and at least 1 checkpoint is kept; None keeps all of them."
        )
    return number


def _integer(number: Any) -> int | None:
    if isinstance(number, bool):
        return None
    try:
        return operator.index(number)
    except TypeError:  # arrays of several numbers have the method too
        return None


class StepDirectory:
    """The folders of a directory of checkpoints.

    Args:
        directory: a path, or an address that `epath` knows.
        epath: the library `etils.epath`.
    """

    def __init__(self, directory: str, epath: Any) -> None:
        self._path = epath.Path(directory)
        self._is_local = "://" not in directory
        self._name = directory

    def steps(self) -> list[int]:
        """Return the numbers of the complete checkpoints, in order."""
        names = [path.name for path in self._path.iterdir()] if self._path.exists() else []
        numbers = [int(name) for name in names if name.isascii() and name.isdigit()]
        return sorted(step for step in numbers if str(step) in names and self._is_complete(step))

    def _is_complete(self, step: int) -> bool:
        mark = "_CHECKPOINT_METADATA" if self._is_local else "commit_success.txt"
        return (self._path / str(step) / mark).exists()

    def folder(self, step: int) -> Any:
        return self._path / str(step)

    def unfinished(self, step: int) -> list[Any]:
        """Return the folders in which a step is being written."""
        start = f"{step}{_UNFINISHED}"
        return [path for path in self._path.iterdir() if path.name.startswith(start)]

    def delete(self, step: int) -> None:
        """Delete a checkpoint; it is not in the list of steps from the first moment on."""
        folder = self.folder(step)
        if self._is_local:
            gone = self._path / f"{step}{_UNFINISHED}-deleted"
            if gone.exists():
                gone.rmtree()
            folder.rename(gone)
            folder = gone
        folder.rmtree()

    def keep_latest(self, count: int | None) -> None:
        """Delete all checkpoints but the latest ones."""
        for step in self.steps()[: -count if count else 0]:
            self.delete(step)

    def clear(self) -> None:
        """Delete what others, which were killed or failed, have left."""
        for path in list(self._path.iterdir()):
            if _UNFINISHED in path.name:
                path.rmtree()

    def sync(self, step: int | None = None) -> None:
        """Wait until the list of checkpoints, or all of one that gets its name next, is on the disk."""
        if not self._is_local:
            return
        if step is None:
            sync(self._name)
        else:
            for path in self.unfinished(step):
                sync_tree(os.fspath(path))

    def lock(self) -> WriterLock | None:
        """Make the directory, and keep others from saving to it."""
        self._path.mkdir(parents=True, exist_ok=True)
        return WriterLock(self._name) if self._is_local else None


class WriterLock:
    """Keeps others from saving to a directory; the system ends it with the process.

    Args:
        directory: the directory. A file system that has no locks has none here.

    Raises:
        RuntimeError: another saves to it.
    """

    def __init__(self, directory: str) -> None:
        self._descriptor: int | None = os.open(directory, os.O_RDONLY)
        _locks.add(self)
        end = time.monotonic() + _PATIENCE
        while not self._try(directory, is_last=time.monotonic() > end):
            time.sleep(0.02)

    def _try(self, directory: str, is_last: bool) -> bool:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if is_last:
                self.close()
                raise RuntimeError(
                    f"Another process, or another `Checkpoints`, saves to {directory}, where only one can. "
                    "Wait for its end, close it (`checkpoints.close()`), or save to another directory."
                ) from None
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        """Let others save."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.close()


def _close_in_child() -> None:
    for lock in list(_locks):
        lock.close()


os.register_at_fork(after_in_child=_close_in_child)

"""Files that are whole or not there, and written where, and with the mode that, people expect."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO


def file_path(path: str | bytes | os.PathLike[Any]) -> str:
    """Return a path as text, in which `~` is the home of the user, as in a shell.

    Raises:
        TypeError: it is no path.
        ValueError: it is empty.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise TypeError(
            f"A path is a string or a `pathlib.Path`, got {path!r} of type {type(path).__name__}."
        ) from None
    if not text:
        raise ValueError("The path is empty. Give the name of a file or of a directory.")
    return os.path.expanduser(text)


def replace_file(path: str | os.PathLike[str], write: Callable[[BinaryIO], None]) -> None:
    """Write a file and put it in the place of the old one when it is whole and on the disk.

    A symbolic link stays, and the file that it leads to is replaced. The file keeps the mode that it
    had, and a new one has that of the umask. Of two that write one file, the second waits; what a
    killed one left is used by the next.

    Args:
        path: the file.
        write: writes to the open file that it is given.
    """
    target = os.path.realpath(file_path(path))
    mode = _mode(target)
    folder, name = os.path.split(target)
    partial = os.path.join(folder, f".{name[:240]}.partial")
    with _locked(partial) as file:
        try:
            file.truncate(0)
            write(file)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            os.replace(partial, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
            raise
    sync(folder)


def sync(path: str | os.PathLike[str]) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: str) -> None:
    """Wait until all files and folders in a folder are on the disk."""
    for path in _files_and_folders(folder):
        sync(path)


def _files_and_folders(folder: str) -> Iterator[str]:
    for here, _, names in os.walk(folder, topdown=False):
        yield from (os.path.join(here, name) for name in names)
        yield here


@contextlib.contextmanager
def _locked(path: str) -> Iterator[BinaryIO]:
    """Open a file, and keep others that do so away from it until it has another name or none."""
    while True:
        with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            with contextlib.suppress(OSError):  # where there are no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file.fileno(), path):
                yield file
                return


def _is_at(descriptor: int, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def _mode(target: str) -> int | None:
    """Return the mode of a file that can be replaced; None if there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise ValueError(
            f"{target} is not a file, and would be replaced by one. Give another path."
        )
    if not os.access(target, os.W_OK):
        raise PermissionError(f"{target} is read-only, and is not replaced. Give another path.")
    return stat.S_IMODE(mode)

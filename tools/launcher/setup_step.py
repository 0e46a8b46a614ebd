"""One set-up step at a time: locked against a second launcher, shown as it runs, explained when it fails."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CHATTER = ("Looking in ", "WARNING: Location ", "Requirement already satisfied")
CAUSES = {
    "No space left on device": "the disk is full; free some space",
    "Disk quota exceeded": "the disk quota is used up; free some space",
    "Temporary failure in name resolution": "there is no network; connect",
    "Name or service not known": "there is no network; connect",
    "nodename nor servname provided": "there is no network; connect",
    "Failed to establish a new connection": "there is no network; connect",
    "NewConnectionError": "there is no network; connect",
    "ConnectTimeoutError": "the package index does not answer; check the network",
    "ReadTimeoutError": "the package index does not answer; check the network",
    "Network is unreachable": "there is no network; connect",
    "Connection refused": "the package index refused the connection; check the network and proxy",
    "CERTIFICATE_VERIFY_FAILED": "the package index's certificate was not accepted; check the clock and PIP_CERT",
    "(from versions: none)": "no package index could be reached; check the network and pip's settings",
    "No CMAKE_CXX_COMPILER could be found": "there is no C++17 compiler; install g++ or clang++",
    "Permission denied": "a file in the checkout cannot be written; check its owner",
}


class SetupError(Exception):
    """A set-up step failed; the message is the one sentence that the user gets."""


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the checkout's set-up lock; a second launcher waits here and says so."""
    with explained("preparing the checkout"):
        folder = root / ".hatch"
        folder.mkdir(exist_ok=True)
        lock = (folder / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another tools/hatch is setting this checkout up; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    print(f"tools/hatch: {text}", file=sys.stderr, flush=True)


def run(step: str, command: list[str], **options) -> None:
    """Run one step with its output shown as it comes; raise `SetupError` with the likely cause if it fails."""
    say(step)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **options,
    ) as process:
        output = []
        for line in process.stdout:
            if not line.startswith(CHATTER):
                sys.stderr.write(line)
            output.append(line)
        status = process.wait()
    if status:
        raise SetupError(failure(step, status, "".join(output)))


def failure(step: str, status: int, output: str) -> str:
    for sign, cause in CAUSES.items():
        if sign in output:
            return f"{step} failed because {cause}, then run the same command again."
    return f"{step} failed with exit status {status}; mend what its output says and run the same command again."


@contextlib.contextmanager
def explained(step: str) -> Iterator[None]:
    """Turn an operating system error into a `SetupError` that names the step and the likely cause."""
    try:
        yield
    except OSError as error:
        raise SetupError(failure(step, error.errno or 1, str(error))) from error

"""Start a script in several processes on this machine, as torchrun does, and end them together.

python examples/distributed/launch.py PROCESSES SCRIPT [ARGUMENT ...]

Each gets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. If one fails, the others are ended.
"""

import os
import signal
import socket
import subprocess
import sys
import time


def launch(count: int, command: list[str], **variables: str) -> list[subprocess.Popen]:
    """Start the processes of a command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", **variables}
    return [
        subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **common, "RANK": str(rank)},
            stdout=None if rank == 0 else subprocess.DEVNULL,
        )
        for rank in range(count)
    ]


def wait(processes: list[subprocess.Popen], grace: float = 10.0) -> int:
    """Return the first exit code that is not 0, once all have ended, or have been ended."""
    deadline = None
    while any(process.poll() is None for process in processes):
        if any(process.poll() for process in processes):
            deadline = deadline or time.monotonic() + grace
            if time.monotonic() > deadline:
                for process in processes:
                    process.kill()
        time.sleep(0.05)
    return next((process.returncode for process in processes if process.returncode), 0)


def main() -> int:
    """Start the command of the command line, and return its exit code."""
    processes = launch(int(sys.argv[1]), sys.argv[2:])
    signal.signal(signal.SIGTERM, lambda *_: [process.kill() for process in processes])
    return wait(processes)


if __name__ == "__main__":
    sys.exit(main())

"""Set up the private hatch and the environment that a command needs, then hand the command over.

Standard library only: this is the one part of the project that runs before anything is installed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import environment
import private_hatch
from setup_step import SetupError, locked

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    os.environ.update(private_hatch.variables(ROOT))
    name, command = environment.requested(ROOT, arguments)
    if not (private_hatch.is_ready(ROOT) and (name is None or environment.is_ready(ROOT, name))):
        with locked(ROOT):
            private_hatch.ensure(ROOT)
            if name is not None:
                environment.ensure(ROOT, name)
    if name is not None and command == "python" and not Path.cwd().is_relative_to(ROOT):
        return hand_over(environment.python(ROOT, name), arguments[2:])
    return hand_over(private_hatch.executable(ROOT), arguments)


def hand_over(program: Path, arguments: list[str]) -> int:
    """Replace this process, so that signals and the exit status are the program's own."""
    sys.stdout.flush()
    os.execv(program, [str(program), *arguments])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        sys.exit(f"tools/hatch: {error}")
    except KeyboardInterrupt:
        sys.exit("tools/hatch: interrupted; run the same command again to continue.")

"""Format the C++ sources with clang-format, or with `--check` say which are not formatted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    """Run clang-format over every C++ file."""
    if arguments not in ([], ["--check"]):
        sys.exit(f"native_format.py: {' '.join(arguments)!r} was given; only --check is known.")
    mode = ["--dry-run", "--Werror"] if arguments else ["-i"]
    files = [
        str(file)
        for folder in ("packages/*/[ci]*", "tools/simulated_gpu")
        for kind in ("cc", "h")
        for file in sorted(ROOT.glob(f"{folder}/**/*.{kind}"))
    ]
    return subprocess.run(["clang-format", *mode, *files]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

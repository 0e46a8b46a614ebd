"""Print what kinds of file changed since a commit, as the flags that decide which CI jobs run."""

from __future__ import annotations

import subprocess
import sys

PROSE = (".md", ".txt", ".png", ".svg")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.exit(
            f"changed.py: {len(arguments)} arguments were given; expected one, the commit to compare with."
        )
    for flag, value in flags(changed_files(arguments[0])).items():
        print(f"{flag}={'true' if value else 'false'}")
    return 0


def changed_files(base: str) -> list[str] | None:
    """Return the files that differ from `base`; None if it is unknown here (a new branch, a rewritten history)."""
    command = ["git", "diff", "--name-only", f"{base}...HEAD"]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.splitlines() if result.returncode == 0 else None


def flags(files: list[str] | None) -> dict[str, bool]:
    """Everything counts as changed when the files are not known; READMEs and docs hold code that is tested."""
    if files is None:
        return {"code": True}
    return {"code": any(is_tested(file) for file in files)}


def is_tested(file: str) -> bool:
    tested_prose = file.startswith("docs/") or file.endswith("README.md") or file == "CHANGELOG.md"
    return tested_prose or not file.endswith(PROSE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

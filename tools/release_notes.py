"""Print the notes of a release: which packages changed since the one before, and how."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import changelog
import distributions
from api_check import last_tag


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default=distributions.version())
    parser.add_argument("--out", type=Path, help="a file to write to, instead of the terminal")
    options = parser.parse_args()
    text = notes(distributions.ROOT, options.version)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def notes(root: Path, version: str) -> str:
    """Return the notes as Markdown: a table of the packages, then what the changelog says of each."""
    released = version in changelog.versions(root)
    entries = {
        name: changelog.section(root, name, version if released else None)
        for name in distributions.NAMES
    }
    before = last_tag(root, "HEAD^")
    rows = [f"| {name} | {change(root, name, before)} |" for name in distributions.NAMES]
    table = "\n".join(["| package | source files changed |", "|---|---|", *rows])
    sections = [f"## {name}\n\n{entry}" for name, entry in entries.items() if entry]
    since = f"since {before}" if before else "in the first release"
    return "\n\n".join([f"All five packages are released as {version}.", table, *sections]) + (
        f"\n\nThe table counts the files of each package that changed {since}.\n"
    )


def change(root: Path, name: str, before: str | None) -> str:
    """How many files of a package changed since the tag `before`."""
    folder = f"packages/{name}/"
    listing = ["ls-files"] if before is None else ["diff", "--name-only", f"{before}..HEAD"]
    command = ["git", "-C", str(root), *listing, "--", folder]
    files = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    sources = [file for file in files if not file.startswith(f"{folder}tests/")]
    return str(len(sources)) if sources else "none (same code, new version)"


if __name__ == "__main__":
    sys.exit(main())

"""Compare the public API with that of the last release; a breaking change needs a line in the changelog.

That line stands under the package's heading, begins with `**Breaking:**` and names the object.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import griffe

import distributions
from changelog import section

COLOURS = re.compile(r"\x1b\[[\d;]*m")
ENTRY = re.compile(r"^- \*\*Breaking:\*\*.*(?:\n  .*)*", flags=re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", help="the tag to compare with; the last release's by default")
    tag = parser.parse_args().since or last_tag(distributions.ROOT)
    if tag is None:
        print("release:api: no release has been tagged yet, so there is no API to keep.")
        return 0
    problems = list(undeclared(distributions.ROOT, tag))
    for problem in problems:
        print(f"release:api: {problem}")
    if problems:
        sys.exit(
            f"release:api: {len(problems)} breaking changes since {tag} have no entry in CHANGELOG.md; "
            "undo each, or write a line '- **Breaking:** ...' that names it under its package's heading."
        )
    print(f"release:api: every breaking change since {tag} has its entry in CHANGELOG.md.")
    return 0


def last_tag(root: Path, before: str = "HEAD") -> str | None:
    """Return the newest release tag that `before` descends from."""
    command = ["git", "-C", str(root), "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"]
    result = subprocess.run([*command, before], capture_output=True, text=True)
    return result.stdout.strip() if result.returncode == 0 else None


def undeclared(root: Path, tag: str) -> Iterator[str]:
    """Yield a sentence for each breaking change of a public name that the changelog does not tell."""
    with tempfile.TemporaryDirectory() as scratch:
        extract(root, tag, Path(scratch))
        for name in distributions.NAMES:
            if (Path(scratch) / "packages" / name).is_dir():
                told = "\n".join(ENTRY.findall(section(root, name)))
                for path, sentence in breaking_changes(name, Path(scratch), root):
                    if not re.search(rf"\b{re.escape(path.rpartition('.')[2])}\b", told):
                        yield f"{name}: {sentence}"


def extract(root: Path, tag: str, target: Path) -> None:
    """Write the packages as they were at `tag` into `target`."""
    command = ["git", "-C", str(root), "archive", "--format=tar", tag, "packages"]
    result = subprocess.run(command, capture_output=True)
    if result.returncode:
        sys.exit(f"release:api: git knows no {tag}: {result.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
        archive.extractall(target, filter="data")


def breaking_changes(name: str, old: Path, new: Path) -> Iterator[tuple[str, str]]:
    """Yield the path of each public object that changed incompatibly, and what happened to it."""
    for breakage in griffe.find_breaking_changes(load(name, old), load(name, new)):
        text = breakage.explain(griffe.ExplanationStyle.ONE_LINE)
        yield breakage.obj.path, COLOURS.sub("", text).removeprefix(f"{old}/")


def load(name: str, root: Path) -> griffe.Object | griffe.Alias:
    """Return the package as its source files and stubs say, siblings beside it; nothing is imported."""
    sources = [root / "packages" / each / "src" for each in distributions.NAMES]
    return griffe.load(
        distributions.import_name(name),
        search_paths=sources,
        allow_inspection=False,
        resolve_aliases=True,
    )


if __name__ == "__main__":
    sys.exit(main())

"""Check that a tag may be released: it is the version, and the changelog tells of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import changelog
import distributions


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag", help="the tag that is to be released, such as v1.2.0")
    tag = parser.parse_args().tag
    if problem := why_not(distributions.ROOT, tag, distributions.version()):
        sys.exit(f"release:check: {problem}")
    print(f"release:check: {tag} is the version of all five packages, and CHANGELOG.md has it.")
    return 0


def why_not(root: Path, tag: str, version: str) -> str | None:
    """Return a sentence that says why `tag` cannot be released; None if it can."""
    if tag != f"v{version}":
        return (
            f"the tag is {tag}, but version.py says {version}; "
            f"expected v{version}. Run release:bump, commit, and tag that commit."
        )
    if ".dev" in version:
        return f"{version} is a development version; run release:bump with the version to release."
    if not changelog.versions(root).get(version, "").strip():
        return f"CHANGELOG.md says nothing under a heading [{version}]; run release:bump {version}."
    return None


if __name__ == "__main__":
    sys.exit(main())

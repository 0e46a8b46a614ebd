"""Read CHANGELOG.md: a heading per version, in it a heading per package."""

from __future__ import annotations

import re
from pathlib import Path

VERSION_HEADING = re.compile(r"^## \[([^\]]+)\].*\n", flags=re.MULTILINE)


def versions(root: Path) -> dict[str, str]:
    """Return the text under each version's heading, the newest first."""
    _, *parts = VERSION_HEADING.split((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def section(root: Path, package: str, version: str | None = None) -> str:
    """Return what a version changes in a package; of the newest heading that says anything by default."""
    texts = versions(root)
    text = texts.get(version, "") if version else next(filter(str.strip, texts.values()), "")
    found = re.search(
        rf"^### {re.escape(package)}\n(.*?)(?=^### |\Z)", text, flags=re.MULTILINE | re.DOTALL
    )
    return found[1].strip() if found else ""

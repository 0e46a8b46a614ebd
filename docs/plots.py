"""Pictures of the benchmarks: `<!-- plots -->` on a page becomes those in `docs/assets/benchmarks`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARKER = "<!-- plots -->"
FOLDER = Path(__file__).parent / "assets" / "benchmarks"
NONE = "No run has been added to this site yet."


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Replaces the marker of a page, before its Markdown is read."""
    if MARKER not in markdown:
        return markdown
    up = "../" * page.file.src_uri.count("/")
    return markdown.replace(MARKER, "\n\n".join(pictures(up)) or NONE)


def pictures(up: str) -> Iterator[str]:
    """An image for each series of the newest run; files are named `DATE-TIME-MICROSECONDS-SERIES.png`."""
    files = sorted(FOLDER.glob("*.png"))
    for file in files:
        run, series = split(file)
        if run == split(files[-1])[0]:
            yield f"![Time against size: {series}]({up}assets/benchmarks/{file.name}){{ loading=lazy }}"


def split(file: Path) -> tuple[str, str]:
    """The run and the series that a file is named for."""
    *run, series = file.stem.split("-", 3)
    return "-".join(run), series

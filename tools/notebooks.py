"""Make notebooks of the quickstart and the tutorials: `python tools/notebooks.py FOLDER`.

The site has them for download (`docs/hooks/downloads.py`), and `docs/tests/test_notebooks.py` runs them.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)([^)]+)\)")


def main() -> int:
    """Write every notebook into the folder that is the argument, with links to the site of `mkdocs.yml`."""
    folder = Path(sys.argv[1])
    site = re.search(
        r"^site_url: (.*)$", (DOCS.parent / "mkdocs.yml").read_text("utf-8"), re.MULTILINE
    )
    for page in pages():
        path = folder / Path(page).with_suffix(".ipynb")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(notebook(page, site[1]), encoding="utf-8")
        print(path)
    return 0


def pages() -> list[str]:
    """Return the pages that are notebooks too, as paths within `docs`."""
    found = [DOCS / "quickstart.md", *(DOCS / "tutorials").glob("*.md")]
    return sorted(path.relative_to(DOCS).as_posix() for path in found)


def notebook(page: str, site: str) -> str:
    """Return a page as the text of a notebook, whose links lead to the site at that address."""
    text = (DOCS / page).read_text(encoding="utf-8")
    parts = BLOCK.split(text)  # prose and code in turn
    cells = []
    for number, part in enumerate(parts):
        source = part.strip("\n") if number % 2 else prose(part, page, site)
        if source:
            cells.append(cell(source, is_code=bool(number % 2), number=number))
    cells.insert(1, cell(installation(site), is_code=False, number=len(parts)))
    language = {"name": "python"}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": language}
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def prose(text: str, page: str, site: str) -> str:
    """Return Markdown without comments, its links complete."""
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    return LINK.sub(lambda found: f"]({address(found[1], page, site)})", text).strip()


def address(link: str, page: str, site: str) -> str:
    """Return the address on the site of what a page links to."""
    target, mark, anchor = link.partition("#")
    place = normpath(join(dirname(page), target)) if target else page
    place = place.removesuffix("index.md")
    place = f"{place.removesuffix('.md')}/" if place.endswith(".md") else place
    return f"{site.rstrip('/')}/{place}{mark}{anchor}"


def installation(site: str) -> str:
    """Return the cell that says what the notebook needs."""
    page = f"{site.rstrip('/')}/installation/"
    return f"This notebook needs an environment with the packages: [Installation]({page})."


def cell(source: str, *, is_code: bool, number: int) -> dict[str, Any]:
    """Return a cell, as nbformat has it."""
    lines = source.splitlines(keepends=True)
    common = {"id": f"part-{number}", "metadata": {}, "source": lines}
    if is_code:
        return {"cell_type": "code", "execution_count": None, "outputs": [], **common}
    return {"cell_type": "markdown", **common}


if __name__ == "__main__":
    sys.exit(main())

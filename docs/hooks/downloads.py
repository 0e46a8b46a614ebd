"""Adds to the site the notebooks that `tools/notebooks.py` makes, and to each of their pages a link."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.append(str(Path(__file__).parents[2] / "tools"))

import notebooks


def on_files(files: Files, config: Any) -> Files:
    """Add a notebook beside each page that has one."""
    for page in notebooks.pages():
        text = notebooks.notebook(page, config.site_url)
        path = Path(page).with_suffix(".ipynb").as_posix()
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Put the link under the title."""
    if page.file.src_uri not in notebooks.pages():
        return markdown
    title, _, text = markdown.partition("\n")
    name = Path(page.file.src_uri).with_suffix(".ipynb").name
    return f"{title}\n\n[This page as a notebook]({name}){{ .notebook download }}\n{text}"

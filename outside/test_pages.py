"""Programs of the documentation with libraries that only this environment has: whole pages, from top to bottom."""

from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [
    path
    for path in sorted(DOCS.rglob("*.md"))
    if "<!-- outside -->" in path.read_text("utf-8").splitlines()
    or (path.parent.name == "integrations" and path.stem != "index")
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page(path):
    blocks = list(Sybil(parsers=[PythonCodeBlockParser()]).parse(path).examples())
    assert blocks
    for block in blocks:
        block.evaluate()
